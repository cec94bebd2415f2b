import sys
from typing import get_args

import pytest

from tasks.errors import ConfigError, SetupError
from tasks.evaluate.measures import MEASURES, measure, measure_names
from tasks.evaluate.measures.base import Input, MeasureContext, Once, Score
from tests.cases import case, result, unanswerable


@pytest.mark.parametrize("name", [*MEASURES, "R@5", "P@1", "nDCG@10", "RR", "RR@3"])
def test_a_measure_prints_as_it_is_parsed(name: str) -> None:
    assert measure(name).name == name
    assert measure(name).version >= 1


@pytest.mark.parametrize("name", ["R@0", "R@", "r@5", "nDCG", "f1", "", "R@5 ", "AP@5"])
def test_an_unknown_measure_is_named_with_all_that_there_are(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        measure(name)
    assert all(known in str(caught.value) for known in measure_names())


def test_a_score_is_finite() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="is finite"):
            Score("c1", "faithfulness", value)


@pytest.mark.parametrize("name", [name for name, each in MEASURES.items() if each.judged])
async def test_a_judged_measure_without_a_judge_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*needs"):
        await measure(name).score([result("heapq.nsmallest [1]")], MeasureContext())


def test_measures_of_gold_and_reference_leave_out_cases_without_an_answer() -> None:
    left_out = {name for name in (*MEASURES, "R@5") if not measure(name).applies(unanswerable())}
    assert left_out == {
        "R@5",
        "span_precision",
        "span_recall",
        "faithfulness",
        "answer_relevancy",
        "context_precision",
        "context_recall",
        "native_faithfulness",
        "native_answer_relevancy",
        "native_context_precision",
        "native_context_recall",
        "citation_validity",
        "citation_recall",
        "citation_precision",
        *(name for name in MEASURES if name.startswith("deepeval_")),
    }
    assert all(measure(name).applies(case()) for name in MEASURES)


@pytest.mark.parametrize("name", [*MEASURES, "R@5"])
def test_a_measure_declares_what_it_looks_at_and_what_it_asks(name: str) -> None:
    chosen = measure(name)
    assert chosen.inputs
    assert set(chosen.inputs) <= set(get_args(Input))
    assert chosen.judged == bool(chosen.calls)
    assert chosen.needs_answer == ("answer" in chosen.inputs)


@pytest.mark.parametrize("name", [name for name in MEASURES if name.startswith("deepeval_")])
def test_a_package_that_is_not_there_is_named_with_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deepeval", None)
    with pytest.raises(SetupError, match=f"(?s){name}.*pip install .*deepeval.txt"):
        measure(name).require_setup()


async def test_once_makes_a_value_once() -> None:
    once, made = Once(), []

    async def make() -> int:
        made.append(1)
        return len(made)

    assert [await once.get("key", make), await once.get("key", make)] == [1, 1]
    assert await once.get("other", make) == 2
