"""A served model -> whether it still answers as it did under the same name.

A name, and even a digest of weights, says little about a server that somebody else runs: it may
have been moved to other hardware, quantised, or given a system prompt. A few fixed prompts are
asked before an evaluation; their texts and the log-probabilities of their tokens are kept with the
model's version the first time, and compared ever after.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.errors import CorruptArtifact, ModelChanged
from tasks.serve.client import ModelClient
from tasks.serve.version import ModelVersion
from tasks.store import locked, write_json

CANARY_VERSION = 1
"""Goes up when a prompt or a setting below changes."""
PROMPTS = (
    "Continue: one, two, three,",
    "Which planet is the largest of the solar system? Answer in one word.",
    "Translate into French: The train leaves at noon.",
    'Answer with JSON like {"verdict": 0} or {"verdict": 1}: is water wet?',
    "Write a Python expression for the sum of the squares from 1 to n.",
    "Is the following sentence supported by itself? The cat sat on the mat.",
)
MAX_TOKENS = 24
TOLERANCE = 0.35
"""Largest difference of a token's log-probability. Batches of another size add up in another order,
which moves the last bits of bfloat16; this is meant to be above that and below another model."""
MOST_FLIPPED = 1
"""Prompts whose text may differ: two tokens that are nearly as likely change places by rounding."""


@dataclass(frozen=True, slots=True)
class Note:
    """One prompt's answer."""

    prompt: str
    text: str
    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    """Of each token; empty where the server gives none."""


async def sing(door: ModelClient) -> tuple[Note, ...]:
    """Ask every prompt, past the cache.

    Raises:
        CallFailed: the server doesn't answer one.
    """
    return tuple(await asyncio.gather(*(_note(door, prompt) for prompt in PROMPTS)))


async def _note(door: ModelClient, prompt: str) -> Note:
    body = await door.ask_uncached(
        {
            "model": door.model_name,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0.0,
            "max_tokens": MAX_TOKENS,
            "seed": 0,
            "logprobs": True,
        },
        purpose="canary",
    )
    choice = body["choices"][0]
    content = (choice.get("logprobs") or {}).get("content") or []
    return Note(
        prompt=prompt,
        text=choice["message"].get("content") or "",
        tokens=tuple(str(row["token"]) for row in content),
        logprobs=tuple(float(row["logprob"]) for row in content),
    )


def compare_or_keep(now: Sequence[Note], path: Path) -> tuple[str, ...]:
    """Keep the first answers of a model version; say how later ones differ.

    Args:
        now: what the model says.
        path: of the kept answers.

    Returns:
        One line a change that rounding doesn't explain; nothing when it is the same model.

    Raises:
        CorruptArtifact: the kept answers can't be read.
    """
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            write_json(path, {"version": CANARY_VERSION, "notes": [asdict(note) for note in now]})
            return ()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        before = [
            Note(row["prompt"], row["text"], tuple(row["tokens"]), tuple(row["logprobs"]))
            for row in kept["notes"]
        ]
        if kept["version"] != CANARY_VERSION:
            write_json(path, {"version": CANARY_VERSION, "notes": [asdict(note) for note in now]})
            return ()
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(
            f"The kept canary answers in {str(path)!r} can't be read: {error}.",
            next_step=f"Remove them; the next evaluation keeps new ones: rm {path}",
        ) from error
    return changes(before, now)


def changes(before: Sequence[Note], now: Sequence[Note]) -> tuple[str, ...]:
    """What differs by more than rounding; nothing when it is the same model."""
    moved, flipped = [], []
    for old, new in zip(before, now, strict=True):
        distance = _distance(old, new)
        if distance is not None and distance > TOLERANCE:
            moved.append(
                f"{old.prompt!r}: a token's log-probability moved by {distance:.2f} "
                f"(at most {TOLERANCE:g} is rounding)"
            )
        elif old.text != new.text:
            flipped.append(f"{old.prompt!r}: {new.text!r} instead of {old.text!r}")
    return tuple(moved + (flipped if len(flipped) > MOST_FLIPPED or moved else []))


def _distance(old: Note, new: Note) -> float | None:
    """Largest difference over the tokens up to the first that differs; None without any."""
    distances = []
    for token, other, logprob, now in zip(
        old.tokens, new.tokens, old.logprobs, new.logprobs, strict=False
    ):
        if token != other:
            break
        distances.append(abs(logprob - now))
    return max(distances, default=None)


def model_changed(
    version: ModelVersion, lines: Sequence[str], path: Path, *, url: str
) -> ModelChanged:
    """The error of a model that isn't what it was."""
    return ModelChanged(
        f"The model {version.name!r} ({version.digest[:12]}) at {url} doesn't answer as it did "
        f"under this name; {len(lines)} of {len(PROMPTS)} fixed prompts differ:\n  "
        + "\n  ".join(lines),
        next_step="Find out what changed on the server, and give the new model a name of its own "
        f"in configs/models.yaml; or, if the change is wanted, forget the old answers: rm {path}",
        changes=tuple(lines),
    )
