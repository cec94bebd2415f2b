"""Calls of an evaluation -> what was asked and what was said, enough to ask again."""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.digest import Digest


@dataclass(frozen=True, slots=True)
class MadeCall:
    """One answered call, without what differs from one time to the next."""

    key: Digest
    """Identity: model, path, body and repeat."""
    model: Digest
    path: str
    """Below the endpoint's URL, `/chat/completions`."""
    body: Mapping[str, Any]
    repeat: int
    purpose: str
    position: int
    text: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None


@dataclass(slots=True)
class Journal:
    """Collects the calls of one evaluation; packed, because prompts repeat their passages."""

    _rows: dict[Digest, tuple[int, str, bytes]] = field(default_factory=dict)

    def add(
        self,
        key: Digest,
        *,
        model: Digest,
        path: str,
        body: Mapping[str, Any],
        repeat: int,
        purpose: str,
        position: int,
        answer: str,
    ) -> None:
        """Keep one call; one that is asked for twice is kept where it comes first.

        Args:
            key: its identity.
            model: digest of the model's version.
            path: below the endpoint's URL.
            body: of the request.
            repeat: which repetition.
            purpose: what it was for.
            position: of its case in the suite.
            answer: the server's JSON text.
        """
        before = self._rows.get(key)
        # The same choice whatever finishes first: an evaluation's record doesn't depend on that.
        if before is not None and before[:2] <= (position, purpose):
            return
        said = json.loads(answer)
        choice = (said.get("choices") or [{}])[0]
        usage = said.get("usage") or {}
        row = {
            "model": model,
            "path": path,
            "body": body,
            "repeat": repeat,
            "text": (choice.get("message") or {}).get("content"),
            "finish_reason": choice.get("finish_reason"),
            "input_tokens": usage.get("prompt_tokens"),
            "output_tokens": usage.get("completion_tokens"),
        }
        self._rows[key] = (position, purpose, zlib.compress(json.dumps(row).encode(), 1))

    def __len__(self) -> int:
        return len(self._rows)

    def calls(self) -> Iterator[MadeCall]:
        """Every call, by case, purpose and identity."""
        for position, purpose, key in sorted(
            (row[0], row[1], key) for key, row in self._rows.items()
        ):
            row = json.loads(zlib.decompress(self._rows[key][2]))
            yield MadeCall(key=key, purpose=purpose, position=position, **row)
