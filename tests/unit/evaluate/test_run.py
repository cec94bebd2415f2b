import asyncio
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import Judge, Price
from tasks.errors import ConfigError, SuiteError, TooManyFailures
from tasks.evaluate.log import EvalLog, load_log, save_log
from tasks.evaluate.measures.base import Measure, MeasureContext
from tasks.evaluate.provenance import Provenance
from tasks.evaluate.run import EvaluationPlan, draw, evaluate
from tasks.evaluate.suite import Suite
from tasks.index.search import Index
from tasks.serve.cache import CallCache
from tasks.serve.client import ModelClient
from tasks.serve.together import together
from tasks.serve.transport import Backoff
from tests.cases import case
from tests.evaluations import make_release
from tests.servers import OpenAIServer, Status

PROVENANCE = Provenance(git_commit="c0ffee", git_dirty=False, versions={"python": "3.11"})


def run(
    plan: EvaluationPlan,
    server: OpenAIServer,
    index: Index,
    *,
    cache: Path | None = None,
    seen: list[tuple[str, int, int]] | None = None,
    **options: Any,
) -> EvalLog:
    async def work(calls: CallCache | None) -> EvalLog:
        async with ModelClient(
            server.url,
            plan.release.model,
            Price(input_per_million=1.0, output_per_million=2.0),
            cache=calls,
            backoff=Backoff(first_s=0.001, longest_s=0.01),
            **({"attempts": 1, "timeout_s": 5.0, "in_flight": 4} | options),
        ) as client:
            return await evaluate(
                plan,
                index=index,
                client=client,
                context=MeasureContext(
                    client=client, judge=Judge(model="tiny"), judge_prompt=plan.judge_prompt
                ),
                provenance=PROVENANCE,
                progress=lambda *step: seen.append(step) if seen is not None else None,
            )

    if cache is None:
        return asyncio.run(work(None))
    with CallCache(cache) as calls:
        return asyncio.run(work(calls))


# --- plans --------------------------------------------------------------------------------------


def test_equal_plans_have_equal_digests_wherever_their_suite_and_server_are(plan):
    assert plan().digest == plan().digest
    assert plan(suite=replace(plan().suite, name="renamed")).digest == plan().digest
    assert plan(in_flight=3, timeout_s=9, attempts=1).digest == plan().digest


@pytest.mark.parametrize(
    "change",
    [
        {"release": make_release(7)},
        {"cases": 3},
        {"measures": ("R@2",)},
        {"measures": ("R@3", "contains", "token_f1", "judge_accuracy", "latency_s", "cost")},
        {"judge": {"model": "tiny", "sample": 2}},
        {"judge": {"model": "tiny", "max_tokens": 9}},
        {"abstention": {"phrases": ["keine Ahnung"]}},
        {"toxicity": {"kind": "huggingface", "model": "x"}},
    ],
)
def test_what_may_change_a_number_changes_the_digest(plan, change):
    assert plan(**change).digest != plan().digest


def test_a_plan_for_a_measure_that_nobody_knows_is_refused(plan):
    with pytest.raises(ConfigError, match="no measure 'rouge'"):
        plan(measures=("R@2", "rouge"))


def test_a_quick_look_has_so_many_cases_and_judges_among_those(plan):
    quick = plan(cases=4, judge={"model": "tiny", "sample": 2})
    names = [each.case_id for each in quick.suite.cases]
    assert len(names) == 4
    assert len(quick.judged_cases) == 2
    assert set(quick.judged_cases) <= set(names)
    assert plan(cases=999).suite.digest == plan().suite.digest


def test_without_a_sample_every_case_is_judged_and_with_a_sample_of_none_no_case(plan):
    assert plan().judged_cases == tuple(each.case_id for each in plan().suite.cases)
    assert plan(judge={"model": "tiny", "sample": 0}).judged_cases == ()


NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=30)


@given(names=NAMES, sizes=st.tuples(st.integers(0, 31), st.integers(0, 31)), seed=st.integers())
def test_a_sample_is_in_the_order_of_the_suite_and_a_larger_one_holds_the_smaller(
    names, sizes, seed
):
    suite = Suite("s", tuple(case(name) for name in names))
    small, large = (draw(suite, size, seed=seed) for size in sorted(sizes))
    assert len(large) == min(max(sizes), len(names))
    assert set(small) <= set(large)
    assert list(large) == [name for name in names if name in set(large)]
    assert large == draw(suite, max(sizes), seed=seed)


@given(names=NAMES, new=st.text(st.characters(exclude_categories=["Cs"])), size=st.integers(1, 9))
def test_a_new_case_takes_at_most_one_other_out_of_a_sample(names, new, size):
    suite = Suite("s", tuple(case(name) for name in names if name != new))
    before = set(draw(suite, size, seed=0))
    after = set(draw(Suite("s", (*suite.cases, case(new))), size, seed=0))
    assert len(before - after) <= 1
    assert after - before <= {new}


def test_a_quick_look_at_nothing_is_refused():
    with pytest.raises(SuiteError, match="at least one case"):
        Suite("s", (case("a"),)).subset(draw(Suite("s", (case("a"),)), 0, seed=0))


# --- runs ---------------------------------------------------------------------------------------


def without(plan, word, lost):
    """The plan of a release whose corpus lacks the evidence of one case."""
    cases = [
        replace(each, gold=tuple(replace(span, lost=lost) for span in each.gold))
        if each.case_id == f"store-{word}"
        else each
        for each in plan().suite.cases
    ]
    names = ("R@2", "span_recall", "contains", "judge_accuracy", "output_tokens")
    return plan(suite=Suite("storing", tuple(cases)), measures=names)


@pytest.mark.parametrize(
    ("lost", "unknown"),
    [
        ("both", ["R@2", "contains", "judge_accuracy", "span_recall"]),
        # Another document answers: the answer counts, whatever the document's name is now.
        ("document", ["R@2", "span_recall"]),
        # The document is there to be found, and what it says now is what the answer should be.
        ("quote", ["span_recall"]),
    ],
)
def test_what_the_corpus_lacks_has_no_value_and_a_reason_that_blames_nobody(
    plan, server, index, tmp_path, lost, unknown
):
    log = run(without(plan, "eggs", lost), server, index)
    assert sorted(row.measure for row in log.failures) == unknown
    assert {(row.case_id, row.suite_problem) for row in log.failures} == {("store-eggs", True)}
    assert all("correct the suite" in row.message for row in log.failures)
    assert log.values("output_tokens")["store-eggs"] > 0
    assert len(log.values("R@2")) == (8 if lost == "quote" else 7)
    loaded = load_log(save_log(log, tmp_path))
    assert loaded.failures == log.failures
    assert loaded.cases == log.cases


def test_a_document_that_the_index_lost_costs_the_release_while_the_corpus_has_it(
    plan, server, index
):
    class Forgetful:
        def search(self, questions, *, top_k):
            found = index.search(questions, top_k=top_k)
            return [[chunk for chunk in row if chunk.doc_id != "eggs"] for row in found]

    log = run(plan(measures=("R@2", "span_recall")), server, Forgetful())
    assert log.failures == ()
    assert log.values("R@2")["store-eggs"] == log.values("span_recall")["store-eggs"] == 0.0


def test_an_evaluation_of_a_corpus_that_lacks_evidence_has_a_name_of_its_own(plan):
    assert len({without(plan, "eggs", lost).digest for lost in (None, "quote", "both")}) == 3


def test_every_case_is_answered_and_every_measure_has_its_rows(plan, server, index):
    log = run(plan(), server, index)
    names = [each.case_id for each in plan().suite.cases]
    assert [result.case.case_id for result in log.results] == names
    assert all(result.answer and len(result.retrieved) == 2 for result in log.results)
    assert log.failures == ()
    # No document answers the last case: a ranking measure has no row for it.
    assert list(log.values("R@2")) == names[:-1]
    assert set(log.values("R@2").values()) == {1.0}
    assert list(log.values("token_f1")) == names
    assert set(log.values("judge_accuracy").values()) == {4.0}
    assert all(value > 0 for value in log.values("latency_s").values())


def test_the_manifest_says_what_was_measured_with_what_and_what_it_took(plan, server, index):
    planned = plan()
    log = run(planned, server, index)
    manifest = log.manifest
    assert log.digest == manifest.digest == planned.digest
    assert manifest.release_digest == planned.release.digest
    assert manifest.suite_digest == planned.suite.digest
    assert manifest.judge_digest == planned.judge_digest
    assert [info.name for info in manifest.measures] == [m.name for m in planned.measures]
    assert [info.name for info in manifest.measures if info.judged] == ["judge_accuracy"]
    assert (manifest.git_commit, manifest.git_dirty) == ("c0ffee", False)
    assert manifest.started_at.endswith("+00:00")
    assert manifest.wall_s > 0
    cases = len(planned.suite.cases)
    assert {name: row.calls for name, row in manifest.costs.items()} == {
        "answer": cases,
        "judge": cases,
    }
    spent = manifest.costs["answer"]
    assert spent.cost == pytest.approx((spent.input_tokens + 2 * spent.output_tokens) / 1e6)
    assert spent.cost == pytest.approx(sum(log.values("cost").values()))


def both(plans: list[EvaluationPlan], server: OpenAIServer, index: Index) -> list[EvalLog]:
    """Evaluate plans in one stream, one call at a time."""

    async def work() -> list[EvalLog]:
        price = Price(input_per_million=1.0, output_per_million=2.0)
        async with ModelClient(
            server.url, plans[0].release.model, price, cache=None, in_flight=1
        ) as client:
            context = MeasureContext(
                client=client, judge=Judge(model="tiny"), judge_prompt=plans[0].judge_prompt
            )
            return await together(
                [
                    evaluate(
                        each,
                        index=index,
                        client=client,
                        context=context,
                        provenance=PROVENANCE,
                        progress=lambda *_: None,
                    )
                    for each in plans
                ]
            )

    return asyncio.run(work())


def test_two_releases_are_asked_side_by_side_and_each_counts_its_own_calls(
    plan, server, index, release
):
    challenger = release.model_copy(update={"prompt": make_release(5).prompt})
    plans = [plan(measures=("contains",)), plan(release=challenger, measures=("contains",))]
    server.delay_s = 0.05
    logs = both(plans, server, index)
    cases = len(plans[0].suite.cases)
    first = [body["messages"][0]["content"] for body in server.requests]
    first = [system == first[0] for system in first]
    # One side may begin before the other is prepared; the other catches up, and stays beside it.
    alone = first.index(False)
    assert alone < cases // 2
    for sent in range(2 * cases):
        ahead = 2 * sum(first[: sent + 1]) - (sent + 1)
        assert abs(ahead) <= max(2, alone)
    assert all(abs(2 * sum(first[:sent]) - sent) <= 2 for sent in range(2 * alone + 2, 2 * cases))
    assert [log.manifest.costs["answer"].calls for log in logs] == [cases, cases]
    server.delay_s = 0.0
    separate = [run(each, server, index) for each in plans]
    for log, other in zip(logs, separate, strict=True):
        assert [row for row in log.scores if row.measure == "contains"] == [
            row for row in other.scores if row.measure == "contains"
        ]


def test_a_case_is_judged_before_the_next_one_is_answered(plan, server, index):
    run(plan(), server, index, in_flight=1)
    judged = ["response_format" in body for body in server.requests]
    # The first cases' answers may be under way already; then they take turns.
    assert True in judged[:4]
    assert judged.index(True) < len(judged) // 2
    assert False in judged[-4:]


def test_only_the_sample_is_judged_and_everything_else_is_measured_on_all_cases(
    plan, server, index
):
    planned = plan(judge={"model": "tiny", "sample": 3})
    log = run(planned, server, index)
    assert tuple(log.values("judge_accuracy")) == planned.judged_cases
    assert len(log.values("token_f1")) == len(planned.suite.cases)
    assert log.manifest.judged_cases == planned.judged_cases
    assert log.manifest.costs["judge"].calls == 3


def test_with_nothing_to_judge_the_judge_is_never_asked(plan, server, index):
    log = run(plan(judge={"model": "tiny", "sample": 0}), server, index)
    assert log.values("judge_accuracy") == {}
    assert list(log.manifest.costs) == ["answer"]
    assert not any("response_format" in body for body in server.requests)


def test_progress_counts_to_the_end_of_every_stage(plan, server, index):
    seen: list[tuple[str, int, int]] = []
    run(plan(), server, index, seen=seen)
    for stage, total in (("retrieve", 9), ("answer", 9), ("measure", 6)):
        done = [step[1] for step in seen if step[0] == stage]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, total)
        assert {step[2] for step in seen if step[0] == stage} == {total}


def test_an_answer_that_fails_is_a_record_and_never_a_value(plan, server, index):
    server.faults += [Status(500)] * 3
    log = run(plan(), server, index)
    lost = {result.case.case_id for result in log.results if result.answer is None}
    assert len(lost) == 3
    assert set(log.failed("answer")) == lost
    for info in log.manifest.measures:
        valued, failed = set(log.values(info.name)), set(log.failed(info.name))
        assert not valued & failed
        # What was retrieved can be judged without an answer; nothing else can.
        assert not valued & lost or info.name == "R@2"
        applies = {each.case_id for each in log.cases if info.name != "R@2" or each.answerable}
        assert valued | failed == applies
    for result in log.results:
        if result.answer is None:
            assert result.failure is not None
            assert result.failure.error_type == "CallFailed"
            assert "500" in result.failure.message
            assert result.retrieved
    assert log.manifest.costs["answer"].failures == 3


def test_a_judge_that_talks_nonsense_loses_its_own_marks_and_nothing_else(plan, server, index):
    answer_only = server.respond
    server.respond = lambda body: "ten!" if "response_format" in body else answer_only(body)
    log = run(plan(), server, index)
    assert log.values("judge_accuracy") == {}
    failed = log.failed("judge_accuracy")
    assert len(failed) == len(log.results)
    assert {(row.error_type, row.raw) for row in failed.values()} == {
        ("UnreadableJudgement", "ten!")
    }
    assert len(log.values("token_f1")) == len(log.results)


@pytest.fixture
def long_suite(suite):
    """More cases than the breaker needs to see."""
    return Suite(
        "long",
        tuple(
            replace(each, case_id=f"{each.case_id}-{turn}", question=f"{each.question} {turn}")
            for turn in range(5)
            for each in suite.cases
        ),
    )


def test_a_server_that_is_gone_ends_the_run_with_one_plain_error(plan, server, index, long_suite):
    planned = plan(suite=long_suite)
    server.__exit__(None, None, None)
    with pytest.raises(TooManyFailures) as caught:
        run(planned, server, index)
    assert caught.value.next_step
    printed = "".join(traceback.format_exception(caught.value))
    assert "ExceptionGroup" not in printed
    assert printed.count("tasks.errors.TooManyFailures") == 1


def test_a_server_that_is_lost_when_all_calls_are_on_their_way_ends_the_run_too(
    plan, server, index, long_suite
):
    planned = plan(suite=long_suite, measures=("contains",))
    server.faults += [Status(500)] * 1000
    with pytest.raises(TooManyFailures, match="of the last 20 model calls failed"):
        run(planned, server, index, in_flight=len(long_suite.cases))


def test_a_bug_in_a_measure_is_raised_as_itself(plan, server, index):
    class Broken(Measure):
        async def score(self, results: object, context: object) -> list[Any]:
            try:
                return [{}["gone"]]
            except KeyError as error:
                raise ZeroDivisionError("a bug") from error

    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        run(replace(plan(), measures=(*plan().measures, Broken("broken"))), server, index)
    assert isinstance(caught.value.__cause__, KeyError)


def test_after_a_break_only_what_is_missing_is_asked_for(plan, server, index, long_suite, tmp_path):
    planned = plan(suite=long_suite, measures=("contains",))
    answers, total = server.respond, len(long_suite.cases)

    def for_a_while(body: dict[str, Any]) -> str | None:
        if len(server.requests) > 12:
            server.faults += [Status(500)] * 100
        return answers(body)

    server.respond = for_a_while
    with pytest.raises(TooManyFailures):
        run(planned, server, index, cache=tmp_path, in_flight=1)
    done = 13
    assert len(server.requests) < total
    server.respond = answers
    server.faults.clear()
    server.requests.clear()
    log = run(planned, server, index, cache=tmp_path)
    assert len(server.requests) == total - done
    assert log.failures == ()
    assert log.manifest.costs["answer"].cache_hits == done

    server.requests.clear()
    again = run(planned, server, index, cache=tmp_path)
    assert server.requests == []
    assert (again.scores, again.results) == (log.scores, log.results)
    assert again.manifest.costs["answer"].cost == 0


def test_a_finished_evaluation_is_the_same_after_it_was_stored(plan, server, index, tmp_path):
    server.faults.append(Status(500))
    log = run(plan(), server, index)
    assert load_log(save_log(log, tmp_path)) == log
