"""Question + retrieved passages -> Answer, through the one door."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.answer.release import Release
from tasks.index.search import Retrieved
from tasks.serve.client import ModelClient


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and what it took when it said it; None is what the server kept back."""

    case_id: str
    text: str
    finish_reason: str | None
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    latency_s: float
    cost: float | None


def render_passages(passages: Sequence[Retrieved]) -> str:
    """Number the passages from 1, each with its title, blank lines between them."""
    return "\n\n".join(
        f"[{number}] {passage.title}\n{passage.text}"
        for number, passage in enumerate(passages, start=1)
    )


async def generate(
    question: str,
    passages: Sequence[Retrieved],
    release: Release,
    client: ModelClient,
    *,
    case_id: str = "",
    purpose: str = "answer",
    repeat: int | None = None,
) -> Answer:
    """Answer one question from the given passages with the release's prompt and sampling.

    Raises:
        CallFailed: the call failed after its retries.
        TooManyFailures: the server seems to be gone.
    """
    completion = await client.chat(
        release.prompt.render(question=question, passages=render_passages(passages)),
        purpose=purpose,
        sampling=release.model.sampling,
        repeat=repeat,
    )
    return Answer(
        case_id=case_id,
        text=completion.text.strip(),
        finish_reason=completion.finish_reason,
        input_tokens=completion.input_tokens,
        cached_tokens=completion.cached_tokens,
        output_tokens=completion.output_tokens,
        latency_s=completion.latency_s,
        cost=completion.cost,
    )
