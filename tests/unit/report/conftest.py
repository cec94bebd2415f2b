"""A decision about two real evaluation logs, with hostile text wherever text can come from."""

from dataclasses import dataclass, replace

import pytest

from tasks.answer.generate import Answer
from tasks.evaluate.log import CostRow, EvalLog, EvalManifest, MeasureInfo
from tasks.evaluate.measures.base import CaseResult, Score, ScoringFailure
from tasks.evaluate.suite import Case, Span
from tasks.gate.attribution import PartEffect, attribute
from tasks.gate.decide import decide
from tasks.gate.decision import GateDecision
from tasks.gate.noise import noise_floor
from tasks.gate.policy import GatePolicy, MeasurePolicy, MustPass, Slices
from tasks.gate.scores import ScoredCase, ScoreRow, Scores, from_log
from tasks.index.search import Retrieved
from tasks.report.html import decision_page
from tasks.report.markdown import decision_markdown

HOSTILE = (
    "<script>alert('x')</script><img src=http://evil.example/a.png onerror=alert(1)>"
    "![a](http://evil.example/b.png) [c](javascript:alert(1)) | `d` **e** www.evil.example \u202ef"
)

CASES = 40


@dataclass(frozen=True)
class Evaluated:
    """A decision with what it was made from."""

    decision: GateDecision
    old: EvalLog | Scores | None
    new: EvalLog | Scores
    policy: GatePolicy
    attribution: tuple[PartEffect, ...] = ()

    def page(self) -> str:
        return decision_page(self.decision, self.old, self.new, attribution=self.attribution)

    def markdown(self) -> str:
        return decision_markdown(
            self.decision, self.old, self.new, attribution=self.attribution, page="a/b.html"
        )


def make_log(name: str, passes: int, *, failed: tuple[int, ...] = ()) -> EvalLog:
    results, scores, failures = [], [], []
    for i in range(CASES):
        case = Case(
            case_id=f"case-{i:02d}",
            question=HOSTILE if i == 0 else f"Question {i}?",
            reference="yes",
            gold=(Span(f"doc-{i}", 0, 3, "abc"),),
            cluster=f"module-{i % 20}",
            tags=("even" if i % 2 == 0 else "odd",),
            must_pass=i == 1,
            aliases=(),
        )
        names = (f"doc-{i}", HOSTILE if i == 0 else f"{name}-{i}")
        retrieved = tuple(
            Retrieved(f"{doc}:0-3", doc, doc, "abc", 0, 3, 0.9, rank)
            for rank, doc in enumerate(names, start=1)
        )
        result = CaseResult(case, retrieved, None)
        if i in failed:
            failure = ScoringFailure(case.case_id, "correct", "Unreadable", HOSTILE, HOSTILE)
            failures.append(failure)
            results.append(replace(result, failure=failure))
            continue
        text = HOSTILE if i == 0 else f"{name} answer {i}"
        answer = Answer(case.case_id, text, "stop", 100, 50, 10 + i, 0.5 + i / 100, 0.001)
        results.append(replace(result, answer=answer))
        scores.append(Score(case.case_id, "correct", float(i < passes)))
        scores.append(Score(case.case_id, "tokens", 10.0 + i))
    infos = (
        MeasureInfo(name="correct", version=1, kind="binary", higher_is_better=True, judged=False),
        MeasureInfo(
            name="tokens", version=1, kind="positive", higher_is_better=False, judged=False
        ),
    )
    manifest = EvalManifest(
        digest=name.ljust(64, "0"),
        release_digest=name.ljust(64, "1"),
        release_label=f"{name} {HOSTILE}",
        prompt_digest="2" * 64,
        index_digest="3" * 64,
        model_digest="4" * 64,
        suite_digest="5" * 64,
        suite_name="suite",
        judge_digest="6" * 64,
        judged_cases=(),
        measures=infos,
        seed=0,
        currency="USD",
        costs={
            "answer": CostRow(
                calls=CASES,
                cache_hits=3,
                input_tokens=4000,
                cached_tokens=2000,
                output_tokens=1200,
                cost=0.0123,
                failures=len(failed),
                machine_s=450.0,
            )
        },
        started_at="2026-11-24T02:14:09+00:00",
        wall_s=95.0,
        git_commit="ab" * 20,
        git_dirty=True,
        versions={"vllm": "0.32.0"},
    )
    return EvalLog(manifest, tuple(results), tuple(scores), tuple(failures))


@pytest.fixture(scope="session")
def policy() -> GatePolicy:
    return GatePolicy(
        resamples=999,
        must_pass=MustPass(measure="correct"),
        failure_limit=0.1,
        measures={
            "correct": MeasurePolicy(
                kind="binary", role="primary", direction="higher", margin=0.2, floor=0.3
            ),
            "tokens": MeasurePolicy(kind="positive", role="report", direction="lower"),
        },
    )


@pytest.fixture(scope="session")
def promoted(policy: GatePolicy) -> Evaluated:
    old, new = make_log("old", 10), make_log("new", 24)
    return Evaluated(decide(from_log(old), from_log(new), policy), old, new, policy)


@pytest.fixture(scope="session")
def held(policy: GatePolicy) -> Evaluated:
    """The must-pass case and one other failed."""
    old, new = make_log("old", 10), make_log("new", 14, failed=(1, 39))
    return Evaluated(decide(from_log(old), from_log(new), policy), old, new, policy)


@pytest.fixture(scope="session")
def first(policy: GatePolicy) -> Evaluated:
    new = make_log("new", 10)
    return Evaluated(decide(None, from_log(new), policy), None, new, policy)


def make_scores(name: str, rows: list[tuple[float | None, float, float]]) -> Scores:
    """Scores of another tool: `correct`, `f1` and `tokens` of 80 cases, ids and tags hostile."""
    cases, found = [], []
    for i in range(80):
        case_id = f"{HOSTILE} {i}" if i < 3 else f"case-{i:02d}"
        correct, f1, tokens = rows[i]
        cases.append(ScoredCase(case_id, case_id, (HOSTILE if i % 2 else "even",), i == 0))
        error = HOSTILE if correct is None else None
        found.append(ScoreRow(case_id, "correct", correct, error))
        found.append(ScoreRow(case_id, "f1", f1))
        found.append(ScoreRow(case_id, "tokens", tokens))
    return Scores(cases=tuple(cases), rows=tuple(found), release=f"{name} {HOSTILE}")


@pytest.fixture(scope="session")
def plain() -> Evaluated:
    """Scores without evaluations, with all that a decision can hold beside them.

    Odd cases get worse, even ones better; f1 keeps its margin, but not against the anchor; the
    third look; tokens, without a vote, double.
    """
    policy = GatePolicy(
        resamples=999,
        slices=Slices(margin=0.05),
        failure_limit=0.1,
        measures={
            "correct": MeasurePolicy(kind="binary", role="primary", direction="higher"),
            "f1": MeasurePolicy(kind="bounded", role="guardrail", direction="higher", margin=0.2),
            "tokens": MeasurePolicy(kind="positive", role="report", direction="lower"),
        },
    )
    n = range(80)
    old = make_scores("old", [(float(i % 2), 0.5, 100.0) for i in n])
    new_rows = [(None if i == 4 else float(i % 2 == 0 or i > 20), 0.45, 200.0 + i) for i in n]
    new = make_scores("new", [*new_rows])
    anchor = make_scores("anchor", [(1.0, 0.7, 100.0) for _ in n])
    again = make_scores("old", [(float(i % 2), 0.5 + 0.01 * (i % 3), 100.0) for i in n])
    decision = decide(
        old, new, policy, look=3, anchor=anchor, noise=noise_floor(old, again, policy)
    )
    singles = {
        "prompt": make_scores("prompt", [(1.0, 0.5, 100.0) for _ in n]),
        HOSTILE: make_scores("model", [(0.0, 0.1, 100.0) for _ in n]),
        "index": make_scores("index", [(float(i % 2), 0.5, 100.0) for i in n]),
    }
    return Evaluated(decision, old, new, policy, attribute(old, singles, policy))
