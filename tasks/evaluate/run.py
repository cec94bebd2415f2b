"""Release + suite -> EvalLog: retrieve, answer, measure; every failure is a record."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.answer.generate import generate
from tasks.answer.prompt import PromptVersion
from tasks.answer.release import Release
from tasks.config import Abstention, EvaluateSettings, Toxicity
from tasks.digest import Digest, digest
from tasks.errors import CallFailed
from tasks.evaluate.log import CostRow, EvalLog, EvalManifest, MeasureInfo
from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import (
    CaseResult,
    Measure,
    MeasureContext,
    Score,
    ScoringFailure,
    score_results,
)
from tasks.evaluate.provenance import Provenance
from tasks.evaluate.suite import Case, Suite
from tasks.index.retrieve import Searcher
from tasks.index.search import Retrieved
from tasks.serve.client import ModelClient
from tasks.serve.journal import Journal
from tasks.serve.label import calling
from tasks.serve.meter import Meter
from tasks.serve.together import together
from tasks.serve.version import ModelVersion

CASES_A_PASS = 1
"""Cases whose prompts are made before the loop sends what is ready: the server waits for half a
millisecond a call."""
Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class EvaluationPlan:
    """What will be measured; equal plans have equal digests, and one log."""

    release: Release
    suite: Suite
    measures: tuple[Measure, ...]
    judge: ModelVersion
    judge_prompt: PromptVersion
    judge_max_tokens: int
    judged_cases: tuple[str, ...]
    abstention: Abstention
    toxicity: Toxicity
    seed: int
    attempt: int = 0
    """Counts evaluations of the same plan: one that lost calls may be made again, as another."""
    repeat: int = 0
    """Above 0 the models are asked again, whatever they answered before."""

    @property
    def judge_digest(self) -> Digest:
        """Identity of the judge: its model, its rubric and the judged measures' versions."""
        return digest(
            "judge",
            1,
            {
                "model": self.judge.digest,
                "prompt": self.judge_prompt.digest,
                "max_tokens": self.judge_max_tokens,
                "measures": [[m.name, m.version] for m in self.measures if m.judged],
                "cases": self.judged_cases,
            },
        )

    @property
    def digest(self) -> Digest:
        """Identity of the evaluation."""
        content = {
            "release": self.release.digest,
            "suite": self.suite.digest,
            "judge": self.judge_digest,
            "measures": [[m.name, m.version] for m in self.measures],
            "abstention": self.abstention.model_dump(mode="json"),
            "toxicity": self.toxicity.model_dump(mode="json"),
        }
        if lost := [
            [case.case_id, span.doc_id, span.quote, span.lost]
            for case in self.suite.cases
            for span in case.gold
            if span.lost
        ]:
            content["lost"] = lost
        # Left out where 0, so that they don't rename what was evaluated before they existed.
        again = {"attempt": self.attempt, "repeat": self.repeat}
        return digest("evaluation", 1, content | {k: v for k, v in again.items() if v})


def plan_evaluation(
    release: Release,
    suite: Suite,
    settings: EvaluateSettings,
    *,
    judge: ModelVersion,
    judge_prompt: PromptVersion,
) -> EvaluationPlan:
    """Resolve names and draw the cases, before anything is spent.

    Raises:
        ConfigError: a measure isn't known.
        SetupError: a measure needs a package that isn't installed.
    """
    measures = tuple(measure(name) for name in settings.measures)
    for each in measures:
        each.require_setup()
    if settings.cases is not None:
        suite = suite.subset(draw(suite, settings.cases, seed=settings.seed))
    sample = settings.judge.sample
    return EvaluationPlan(
        release=release,
        suite=suite,
        measures=measures,
        judge=judge,
        judge_prompt=judge_prompt,
        judge_max_tokens=settings.judge.max_tokens,
        judged_cases=draw(
            suite, len(suite.cases) if sample is None else sample, seed=settings.seed
        ),
        abstention=settings.abstention,
        toxicity=settings.toxicity,
        seed=settings.seed,
    )


def draw(suite: Suite, size: int, *, seed: int) -> tuple[str, ...]:
    """Case ids of a random sample in the suite's order.

    Each id has a random rank of its own, so a larger sample holds the smaller one and a new case
    moves no other one in or out by more than its own place.
    """
    ranked = sorted(
        (case.case_id for case in suite.cases),
        key=lambda case_id: hashlib.sha256(f"{seed}:{case_id}".encode()).digest(),
    )
    chosen = set(ranked[:size])
    return tuple(case.case_id for case in suite.cases if case.case_id in chosen)


async def evaluate(
    plan: EvaluationPlan,
    *,
    index: Searcher,
    client: ModelClient,
    context: MeasureContext,
    provenance: Provenance,
    progress: Progress,
    server: Mapping[str, str] | None = None,
) -> EvalLog:
    """Run a plan against running servers.

    Args:
        plan: what to measure; its suite's spans must fit the index's corpus.
        index: the release's index, opened.
        client: the door to the release's model.
        context: the judge's door and what else measures need.
        provenance: commit and package versions, for the record.
        progress: called after each finished step.
        server: what the record says of the server beside the model's version.

    Raises:
        TooManyFailures: the server seems to be gone; finished calls are kept in the cache, so the
            next run continues.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    cases = plan.suite.cases
    progress("retrieve", 0, len(cases))
    meter, journal = Meter(), Journal()
    with calling(meter=meter):
        # The search is work for the processor; the other side's calls wait for the loop.
        found = await asyncio.to_thread(
            index.search, [case.question for case in cases], top_k=plan.release.retrieval.top_k
        )
    progress("retrieve", len(cases), len(cases))
    with calling(repeat=plan.repeat, meter=meter, journal=journal):
        results, rows = await _Run(plan, client, context, progress).all(found)
    models = {plan.release.model.digest: plan.release.model}
    if context.client is not None:
        models[context.client.version.digest] = context.client.version
    return EvalLog(
        manifest=EvalManifest(
            digest=plan.digest,
            release_digest=plan.release.digest,
            release_label=plan.release.label,
            prompt_digest=plan.release.prompt.digest,
            index_digest=plan.release.index_digest,
            model_digest=plan.release.model.digest,
            suite_digest=plan.suite.digest,
            suite_name=plan.suite.name,
            judge_digest=plan.judge_digest,
            judged_cases=plan.judged_cases,
            measures=tuple(
                MeasureInfo(
                    name=m.name,
                    version=m.version,
                    kind=m.kind,
                    higher_is_better=m.higher_is_better,
                    judged=m.judged,
                )
                for m in plan.measures
            ),
            seed=plan.seed,
            models=models,
            server=dict(server or {}),
            currency=client.price.currency,
            costs=_costs(meter),
            endpoints=client.endpoint_totals(),
            started_at=started.isoformat(timespec="seconds"),
            wall_s=time.perf_counter() - clock,
            git_commit=provenance.git_commit,
            git_dirty=provenance.git_dirty,
            versions=provenance.versions,
        ),
        results=tuple(results),
        scores=tuple(row for row in rows if isinstance(row, Score)),
        failures=tuple(result.failure for result in results if result.failure)
        + tuple(row for row in rows if isinstance(row, ScoringFailure)),
        calls=tuple(journal.calls()),
    )


Rows = list[Score | ScoringFailure]


class _Run:
    """One stream of calls: a case is judged as soon as it is answered, beside all the others."""

    def __init__(
        self,
        plan: EvaluationPlan,
        client: ModelClient,
        context: MeasureContext,
        progress: Progress,
    ) -> None:
        self.plan = plan
        self.client = client
        self.context = context
        self.progress = progress
        self.judges = tuple(each for each in plan.measures if each.judged)
        self.others = tuple(each for each in plan.measures if not each.judged)
        self.judged_cases = frozenset(plan.judged_cases)
        self.done = Counter[str]()

    async def all(
        self, found: Sequence[Sequence[Retrieved]]
    ) -> tuple[list[CaseResult], list[Score | ScoringFailure]]:
        """Results in the order of the suite, and rows in the order of the measures."""
        cases = self.plan.suite.cases
        self.progress("answer", 0, len(cases))
        self.progress("measure", 0, len(self.plan.measures))
        if self.judges and self.judged_cases:
            self.progress("judge", 0, len(self.judged_cases))
        judged = await together(
            [self._case(position, tuple(found[position])) for position in range(len(cases))],
            each_pass=CASES_A_PASS,
        )
        # Where all calls were under way at once, none was left to be refused.
        self.client.check("answer")
        results = [result for result, _ in judged]
        others = await together([self._measure(each, results) for each in self.others])
        self.progress("measure", len(self.plan.measures), len(self.plan.measures))
        rows: dict[str, Rows] = dict(zip((each.name for each in self.others), others, strict=True))
        for number, each in enumerate(self.judges):
            rows[each.name] = [row for _, by_judge in judged for row in by_judge[number]]
        return results, [row for each in self.plan.measures for row in rows[each.name]]

    async def _case(
        self, position: int, passages: tuple[Retrieved, ...]
    ) -> tuple[CaseResult, list[Rows]]:
        case = self.plan.suite.cases[position]
        judged = case.case_id in self.judged_cases
        judges = [each if judged and each.applies(case) else None for each in self.judges]
        with calling(position=position):
            # What needs no answer doesn't wait for one.
            first = [each for each in judges if each is not None and not each.needs_answer]
            bare = CaseResult(case=case, retrieved=passages, answer=None)
            work: list[Coroutine[Any, Any, Any]] = [self._answer(case, passages)]
            work += [score_results(each, [bare], self.context) for each in first]
            done = await together(work)
            result: CaseResult = done[0]
            early: dict[str, Rows] = dict(zip((each.name for each in first), done[1:], strict=True))
            with calling(depth=1):
                late = await together(
                    [
                        score_results(each, [result], self.context)
                        for each in judges
                        if each is not None and each.name not in early
                    ]
                )
        waiting = iter(late)
        rows = [
            [] if each is None else early[each.name] if each.name in early else next(waiting)
            for each in judges
        ]
        if self.judges and judged:
            self._tell("judge", len(self.judged_cases))
        return result, rows

    async def _answer(self, case: Case, passages: tuple[Retrieved, ...]) -> CaseResult:
        try:
            answer = await generate(
                case.question, passages, self.plan.release, self.client, case_id=case.case_id
            )
            result = CaseResult(case=case, retrieved=passages, answer=answer)
        except CallFailed as error:
            failure = ScoringFailure(
                case_id=case.case_id,
                measure="answer",
                error_type=type(error).__name__,
                message=error.message,
                raw=None,
            )
            result = CaseResult(case=case, retrieved=passages, answer=None, failure=failure)
        self._tell("answer", len(self.plan.suite.cases))
        return result

    async def _measure(self, chosen: Measure, results: Sequence[CaseResult]) -> Rows:
        rows = await score_results(chosen, results, self.context)
        self._tell("measure", len(self.plan.measures))
        return rows

    def _tell(self, stage: str, total: int) -> None:
        self.done[stage] += 1
        self.progress(stage, self.done[stage], total)


def _costs(meter: Meter) -> dict[str, CostRow]:
    return {
        purpose: CostRow(
            calls=total.calls,
            cache_hits=total.cache_hits,
            input_tokens=total.input_tokens,
            cached_tokens=total.cached_tokens,
            output_tokens=total.output_tokens,
            cost=total.spent,
            failures=total.failures,
            machine_s=total.machine_s,
        )
        for purpose, total in meter.totals().items()
    }
