"""Two evaluations -> which answer to each case a judge prefers, asked in both orders.

A measure of a pair: it belongs to neither release alone, so it is made when both are evaluated. A
judge that is shown two answers tends to prefer a place (Wang et al., "Large Language Models are
not Fair Evaluators", 2023), so each pair is shown twice, and only an answer that is preferred in
both places has won.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.config import Settings
from tasks.digest import Digest, digest
from tasks.errors import CallFailed
from tasks.evaluate.log import EvalLog
from tasks.evaluate.measures.asking import ask_all, ask_judge, judge_of
from tasks.evaluate.measures.base import CaseResult, MeasureContext, NotScored
from tasks.evaluate.measures.rubric import NO_REFERENCE, NO_TEXT
from tasks.serve.label import calling
from tasks.serve.together import together
from tasks.serve.version import ModelVersion

_VERSION = 1

Side = Literal["champion", "challenger", "tie"]


class Preference(Settings):
    """What the judge said about one case."""

    case_id: str
    champion_first: Side | None = None
    """Whom it preferred when it saw the champion's answer first; None: there is no verdict."""
    challenger_first: Side | None = None
    error_type: str | None = None
    """Why there is none."""
    message: str = ""
    raw: str | None = None

    @property
    def winner(self) -> Side | None:
        """Who was preferred in both orders; a verdict that depends on the order is a tie."""
        if self.champion_first is None or self.challenger_first is None:
            return None
        return self.champion_first if self.champion_first == self.challenger_first else "tie"


class Preferences(Settings):
    """The judge's preferences over the cases that both evaluations judged."""

    digest: Digest
    """Of the answers, the judge and this code: equal ones aren't asked about again."""
    rows: tuple[Preference, ...]

    @property
    def lost_calls(self) -> bool:
        """Whether the server failed at a case, which another run may get."""
        return any(row.error_type == CallFailed.__name__ for row in self.rows)

    def places(self) -> Counter[str]:
        """Cases with verdicts: `same` in both orders, or for the answer shown `first` or `second`.

        A verdict that is a tie in one order only counts for the place that it favours in the other.
        """
        found = Counter[str]()
        for row in self.rows:
            if row.champion_first is None or row.challenger_first is None:
                continue
            if row.champion_first == row.challenger_first:
                found["same"] += 1
            else:
                first = row.champion_first == "champion" or row.challenger_first == "challenger"
                found["first" if first else "second"] += 1
        return found


class Choice(Settings):
    """What the judge answers."""

    better: Literal["1", "2", "tie"]


@dataclass(frozen=True, slots=True)
class AnsweredPair:
    """Both sides' result of one case."""

    champion: CaseResult
    challenger: CaseResult


def judged_pairs(champion: EvalLog, challenger: EvalLog) -> tuple[AnsweredPair, ...]:
    """The cases that both evaluations judged, in the order of the suite."""
    old = {result.case.case_id: result for result in champion.results}
    judged = {*champion.manifest.judged_cases} & {*challenger.manifest.judged_cases}
    return tuple(
        AnsweredPair(old[result.case.case_id], result)
        for result in challenger.results
        if result.case.case_id in judged and result.case.case_id in old
    )


def preferences_digest(
    pairs: Sequence[AnsweredPair], judge: ModelVersion, *, max_tokens: int
) -> Digest:
    """Identity of what would be asked."""
    asked = [[pair.champion.case.case_id, *map(_user, _orders(pair))] for pair in pairs]
    content = {"asked": asked, "judge": judge.digest, "max_tokens": max_tokens}
    return digest("preferences", _VERSION, content)


async def prefer(
    pairs: Sequence[AnsweredPair],
    context: MeasureContext,
    *,
    progress: Callable[[str, int, int], None],
) -> tuple[Preference, ...]:
    """Ask the judge about every pair, twice; equal answers are a tie without asking.

    Raises:
        ConfigError: there is no judge.
        TooManyFailures: the judge's server is gone; finished calls are kept in the cache.
    """
    done = 0
    progress("compare answers", 0, len(pairs))

    async def one(position: int, pair: AnsweredPair) -> Preference:
        nonlocal done
        with calling(position=position):
            row = await _preference(pair, context)
        done += 1
        progress("compare answers", done, len(pairs))
        return row

    return tuple(await together([one(number, pair) for number, pair in enumerate(pairs)]))


async def _preference(pair: AnsweredPair, context: MeasureContext) -> Preference:
    case_id = pair.challenger.case.case_id
    for result in (pair.champion, pair.challenger):
        if result.answer is None:
            kind = result.failure.error_type if result.failure else "NoAnswer"
            why = result.failure.message if result.failure else "the case has no answer"
            return Preference(case_id=case_id, error_type=kind, message=why)
    if _text(pair.champion) == _text(pair.challenger):
        return Preference(case_id=case_id, champion_first="tie", challenger_first="tie")
    try:
        first, second = await ask_all(_choice(order, context) for order in _orders(pair))
    except NotScored as error:
        return Preference(
            case_id=case_id, error_type=error.error_type, message=error.message, raw=error.raw
        )
    except CallFailed as error:
        return Preference(case_id=case_id, error_type=type(error).__name__, message=error.message)
    by_place: dict[str, tuple[Side, Side]] = {
        "1": ("champion", "challenger"),
        "2": ("challenger", "champion"),
        "tie": ("tie", "tie"),
    }
    return Preference(
        case_id=case_id, champion_first=by_place[first][0], challenger_first=by_place[second][1]
    )


def _orders(pair: AnsweredPair) -> tuple[tuple[CaseResult, CaseResult], ...]:
    return (pair.champion, pair.challenger), (pair.challenger, pair.champion)


async def _choice(order: tuple[CaseResult, CaseResult], context: MeasureContext) -> str:
    client, sampling = judge_of(context, measure="preference")
    choice = await ask_judge(
        client,
        [{"role": "user", "content": _user(order)}],
        Choice,
        sampling=sampling,
        what="a choice of two answers",
    )
    return choice.better


def _user(order: tuple[CaseResult, CaseResult]) -> str:
    case = order[0].case
    reference = case.reference if case.answerable else NO_REFERENCE
    return (
        f"Question: {case.question}\n\nRight answer: {reference}\n\nAnswer 1: {_text(order[0])}"
        f"\n\nAnswer 2: {_text(order[1])}\n\nWhich answer would help more whoever asked: the one "
        "that agrees with the right answer and says nothing wrong? Length, style and place earn "
        "nothing. `better` is 1, 2, or tie when both are equally good or equally bad."
    )


def _text(result: CaseResult) -> str:
    return (result.answer.text if result.answer is not None else "") or NO_TEXT
