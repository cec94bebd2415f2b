"""An evaluation's calls -> the same calls again, and the first that is answered otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.evaluate.run import Progress
from tasks.serve.client import ModelClient
from tasks.serve.journal import MadeCall
from tasks.serve.together import together


@dataclass(frozen=True, slots=True)
class Difference:
    """A call that was answered otherwise."""

    number: int
    """Of the call in the log, from 1: by case, then by purpose."""
    call: MadeCall
    text: str | None
    finish_reason: str | None
    at: int
    """The first character that differs."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of asking again."""

    calls: int
    equal: int
    differences: tuple[Difference, ...]
    """In the order of the log."""

    @property
    def first(self) -> Difference | None:
        """The first call that differs; later ones may follow from it."""
        return self.differences[0] if self.differences else None


async def replay(
    calls: Sequence[MadeCall], doors: dict[str, ModelClient], progress: Progress
) -> Replay:
    """Send every call again, exactly as it was sent, past the cache.

    Args:
        calls: of one evaluation, in their order.
        doors: an open door for each model's digest.
        progress: told how many are done.

    Raises:
        CallFailed: one has no answer now.
        TooManyFailures: the server is gone.
    """
    done = 0
    progress("replay", 0, len(calls))

    async def one(number: int, call: MadeCall) -> Difference | None:
        nonlocal done
        answer = await doors[call.model].ask_uncached(
            dict(call.body), purpose="replay", position=call.position
        )
        choice = answer["choices"][0]
        text, reason = choice["message"].get("content"), choice.get("finish_reason")
        done += 1
        progress("replay", done, len(calls))
        if (text, reason) == (call.text, call.finish_reason):
            return None
        return Difference(number, call, text, reason, _first_difference(call.text, text))

    found = await together([one(number, call) for number, call in enumerate(calls, start=1)])
    differences = tuple(each for each in found if each is not None)
    return Replay(len(calls), len(calls) - len(differences), differences)


def _first_difference(old: str | None, new: str | None) -> int:
    old, new = old or "", new or ""
    length = min(len(old), len(new))
    return next((place for place in range(length) if old[place] != new[place]), length)
