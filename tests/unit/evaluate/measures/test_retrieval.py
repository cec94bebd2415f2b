import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import MeasureContext, Score
from tests.cases import case, chunk, result, span, unanswerable


async def value(name: str, gold: list[str], found: list[str]) -> float:
    asked = case(gold=tuple(span(doc_id) for doc_id in gold))
    chunks = tuple(chunk(doc_id, rank=rank) for rank, doc_id in enumerate(found, start=1))
    [row] = await measure(name).score([result(of=asked, retrieved=chunks)], MeasureContext())
    assert isinstance(row, Score)
    assert row.measure == name
    return row.value


async def test_recall_is_the_share_of_gold_documents() -> None:
    assert await value("R@2", ["a", "b"], ["a", "x", "b"]) == 0.5
    assert await value("R@3", ["a", "b"], ["a", "x", "b"]) == 1


async def test_precision_is_the_share_of_the_first_k() -> None:
    assert await value("P@4", ["a", "b"], ["a", "x", "b"]) == 0.5


async def test_reciprocal_rank_is_that_of_the_first_right_document() -> None:
    assert await value("RR", ["b"], ["x", "y", "b"]) == pytest.approx(1 / 3)
    assert await value("RR@2", ["b"], ["x", "y", "b"]) == 0


async def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    assert await value("nDCG@3", ["b"], ["x", "b"]) == pytest.approx(1 / math.log2(3))


async def test_several_chunks_of_a_document_count_once_at_their_first_place() -> None:
    assert await value("P@4", ["a"], ["a", "a", "a", "a"]) == 0.25
    assert await value("RR", ["b"], ["a", "a", "b"]) == 0.5


async def test_nothing_retrieved_is_a_recall_of_zero() -> None:
    assert await value("R@5", ["a"], []) == 0


async def test_a_case_is_scored_although_its_answer_failed() -> None:
    [row] = await measure("R@5").score([result(None, retrieved=(chunk(),))], MeasureContext())
    assert row == Score("c1", "R@5", 1.0)


def test_cases_without_an_answer_have_no_gold_documents() -> None:
    assert measure("R@5").applies(case())
    assert not measure("R@5").applies(unanswerable())


async def test_no_results_have_no_scores() -> None:
    assert await measure("RR").score([], MeasureContext()) == []


DOCUMENTS = st.sampled_from("abcdef")


@given(
    st.lists(
        st.tuples(st.lists(DOCUMENTS, min_size=1, max_size=3), st.lists(DOCUMENTS, max_size=6)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["R@3", "P@3", "nDCG@3", "RR"]),
    st.randoms(),
)
async def test_values_are_in_range_and_do_not_depend_on_the_order(
    drawn: list, name: str, shuffler: random.Random
) -> None:
    results = [
        result(
            of=case(f"case {number}", gold=tuple(span(doc_id) for doc_id in gold)),
            retrieved=tuple(chunk(doc_id, rank=rank) for rank, doc_id in enumerate(found, start=1)),
        )
        for number, (gold, found) in enumerate(drawn)
    ]
    rows = await measure(name).score(results, MeasureContext())
    order = list(range(len(results)))
    shuffler.shuffle(order)
    again = await measure(name).score([results[i] for i in order], MeasureContext())
    assert [rows[i] for i in order] == again
    assert all(isinstance(row, Score) and 0 <= row.value <= 1 for row in rows)
