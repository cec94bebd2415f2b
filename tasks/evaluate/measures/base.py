"""Answered cases -> scores: what every measure is, takes and gives."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

from tasks.config import Abstention, Judge, Toxicity
from tasks.errors import CallFailed, ConfigError

if TYPE_CHECKING:
    from tasks.answer.generate import Answer
    from tasks.answer.prompt import PromptVersion
    from tasks.evaluate.suite import Case, Span
    from tasks.index.embed import Embedder
    from tasks.index.search import Retrieved
    from tasks.serve.client import ModelClient

T = TypeVar("T")

NOT_IN_CORPUS = "NotInCorpus"
"""Error type of a value that the release's corpus leaves no way to measure."""

Kind = Literal["binary", "bounded", "positive"]
"""0 or 1; between two fixed ends; from 0 without an end."""

Input = Literal["question", "reference", "gold", "passages", "answer", "usage", "embedder"]
"""What a measure may look at: `usage` is what an answer took, `embedder` the release's model."""


@dataclass(frozen=True, slots=True)
class Score:
    """The value of one measure for one case; always a finite number."""

    case_id: str
    measure: str
    value: float
    repeat: int = 0

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(
                f"{self.measure} of case {self.case_id!r} is {self.value!r}; "
                "a score is finite, a missing one is a ScoringFailure"
            )


@dataclass(frozen=True, slots=True)
class ScoringFailure:
    """Why a case has no value."""

    case_id: str
    measure: str
    error_type: str
    message: str
    raw: str | None
    """What the model said, where that is what couldn't be read."""

    @property
    def suite_problem(self) -> bool:
        """Whether the corpus lacks what the suite asks for; no release is to blame."""
        return self.error_type == NOT_IN_CORPUS


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case with what was retrieved and answered for it."""

    case: "Case"
    retrieved: "tuple[Retrieved, ...]"
    answer: "Answer | None"
    failure: ScoringFailure | None = None
    """Why there is no answer."""


class Once:
    """Makes a value once a key, also when several measures ask for it at the same time."""

    def __init__(self) -> None:
        self._values: dict[object, object] = {}
        self._locks: defaultdict[object, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, key: object, make: Callable[[], Awaitable[T]]) -> T:
        """The value of this key; `make` runs when there is none."""
        async with self._locks[key]:
            if key not in self._values:
                self._values[key] = await make()
            return self._values[key]  # type: ignore[return-value]  # one key holds one type


@dataclass(frozen=True)
class MeasureContext:
    """What measures need beside the results. What is None is missing, and a measure says so."""

    client: "ModelClient | None" = None
    """The door to the judge."""
    judge: Judge | None = None
    judge_prompt: "PromptVersion | None" = None
    """Of the rubric."""
    embedder: "Embedder | None" = None
    abstention: Abstention = field(default_factory=Abstention)
    toxicity: Toxicity = field(default_factory=Toxicity)
    once: Once = field(default_factory=Once)

    def require(self, value: T | None, *, measure: str, what: str) -> T:
        """The value, or an error that says which measure needs it.

        Raises:
            ConfigError: the value is None.
        """
        if value is None:
            raise ConfigError(
                f"The measure {measure!r} needs {what}, and this evaluation has none.",
                next_step=f"Configure it, or remove {measure!r} from `measures` in "
                "configs/evaluate.yaml.",
            )
        return value


class NotScored(Exception):
    """Raised inside a measure for a case that has no value.

    Args:
        error_type: a short name to group by.
        message: what happened and what was expected.
        raw: what the model said.
    """

    def __init__(self, error_type: str, message: str, *, raw: str | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.raw = raw


def failed(measure: str, case_id: str, error: NotScored) -> ScoringFailure:
    """The row of a case that has no value."""
    return ScoringFailure(case_id, measure, error.error_type, error.message, error.raw)


def no_answer(measure: str, result: CaseResult) -> ScoringFailure:
    """The row of a case that was never answered: the reason is the answer's."""
    case_id = result.case.case_id
    if result.failure is None:
        return ScoringFailure(case_id, measure, "NoAnswer", "the case has no answer", None)
    reason = result.failure
    return ScoringFailure(case_id, measure, reason.error_type, reason.message, reason.raw)


def every_case(case: "Case") -> bool:
    """Applies to every case."""
    return True


def answerable_cases(case: "Case") -> bool:
    """Applies to cases whose answer is in the corpus."""
    return case.answerable


@dataclass(frozen=True)
class Measure(ABC):
    """A named function of cases: what it declares."""

    name: str
    """As it is printed and parsed: `R@5`."""
    _: KW_ONLY
    inputs: tuple[Input, ...] = ("answer",)
    """What its value depends on."""
    calls: str = ""
    """Model calls a case, in words; none when empty."""
    kind: Kind = "bounded"
    """What its values look like; decides which statistics fit."""
    higher_is_better: bool = True
    """Direction."""
    version: int = 1
    """Goes up when a value changes for equal input."""
    cases: "Callable[[Case], bool]" = every_case
    """Whether a case has such a value at all."""

    @property
    def judged(self) -> bool:
        """Whether a model gives the value."""
        return bool(self.calls)

    @property
    def needs_answer(self) -> bool:
        """Whether it looks at the answer; one of retrieval alone doesn't wait for it."""
        return "answer" in self.inputs

    def applies(self, case: "Case") -> bool:
        """Whether this case has such a value at all."""
        return self.cases(case)

    def lost_evidence(self, case: "Case") -> "Span | None":
        """A gold span that the corpus lacks and without which this case has no value.

        A ranking needs every gold document. An answer needs one passage that is left, since each
        answers alone; while the document is there, in whatever words, the case counts.
        """
        if "gold" in self.inputs and not self.needs_answer:
            return next((span for span in case.gold if span.lost in ("document", "both")), None)
        if {"gold", "reference"} & set(self.inputs):
            gone = [span for span in case.gold if span.lost == "both"]
            return gone[0] if gone and len(gone) == len(case.gold) else None
        return None

    def require_setup(self) -> None:  # noqa: B027  # most measures need nothing
        """Say what this machine lacks, before anything is spent.

        Raises:
            SetupError: a package that isn't part of every installation.
        """

    @abstractmethod
    async def score(
        self, results: Sequence[CaseResult], context: MeasureContext
    ) -> list[Score | ScoringFailure]:
        """One row a result, in their order.

        Raises:
            ConfigError: the evaluation has no judge, or no embedder, where one is needed.
            TooManyFailures: the judge's server is gone.
        """


async def score_results(
    measure: Measure, results: Sequence[CaseResult], context: MeasureContext
) -> list[Score | ScoringFailure]:
    """One row a result that the measure applies to; what the corpus can't answer isn't asked.

    Raises:
        ConfigError: as for `Measure.score`.
        TooManyFailures: so too.
    """
    applicable = [result for result in results if measure.applies(result.case)]
    gone = {
        result.case.case_id: ScoringFailure(
            result.case.case_id, measure.name, NOT_IN_CORPUS, _gone_line(span), None
        )
        for result in applicable
        if (span := measure.lost_evidence(result.case)) is not None
    }
    asked = [result for result in applicable if result.case.case_id not in gone]
    rows = iter(await measure.score(asked, context) if asked else ())
    return [gone.get(result.case.case_id) or next(rows) for result in applicable]


def _gone_line(span: "Span") -> str:
    if span.lost == "quote":
        return f"{span.doc_id!r} doesn't have {span.quote!r:.100} any more; correct the suite"
    return f"the corpus has no document {span.doc_id!r} any more; correct the suite"


class CaseMeasure(Measure):
    """A measure of each case by itself: a new one only gives `value_of`."""

    async def score(
        self, results: Sequence[CaseResult], context: MeasureContext
    ) -> list[Score | ScoringFailure]:
        """One row a result; a case without an answer keeps the reason why."""
        return list(await asyncio.gather(*(self._row(result, context) for result in results)))

    @abstractmethod
    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The value of one case; it has an answer where the measure needs one.

        Raises:
            NotScored: it has no value.
            CallFailed: a model call failed after its retries.
        """

    async def _row(self, result: CaseResult, context: MeasureContext) -> Score | ScoringFailure:
        case_id = result.case.case_id
        if self.needs_answer and result.answer is None:
            return no_answer(self.name, result)
        try:
            return Score(case_id, self.name, await self.value_of(result, context))
        except NotScored as error:
            return failed(self.name, case_id, error)
        except CallFailed as error:
            return ScoringFailure(case_id, self.name, type(error).__name__, error.message, None)


def said(result: CaseResult) -> "Answer":
    """The answer of a case that has one."""
    if result.answer is None:
        raise ValueError(f"case {result.case.case_id!r} was not answered")
    return result.answer


@dataclass(frozen=True)
class AnswerMeasure(CaseMeasure):
    """A measure that needs nothing but a case and its answer."""

    value: "Callable[[Case, Answer], float]"
    """Raises `NotScored` where there is none."""

    async def value_of(self, result: CaseResult, context: MeasureContext) -> float:
        """The value of one case."""
        return self.value(result.case, said(result))
