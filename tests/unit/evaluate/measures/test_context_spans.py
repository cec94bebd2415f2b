import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluate.measures.base import MeasureContext, Score, ScoringFailure
from tasks.evaluate.measures.context_spans import (
    SPAN_PRECISION,
    SPAN_RECALL,
    span_precision,
    span_recall,
)
from tests.cases import case, chunk, result, span, unanswerable


def found(gold: list[tuple[str, int, int]], chunks: list[tuple[str, int, int]]):
    return result(
        of=case(gold=tuple(span(*part) for part in gold)),
        retrieved=tuple(chunk(*part, rank=rank) for rank, part in enumerate(chunks, start=1)),
    )


def test_characters_are_counted_by_document() -> None:
    both = found([("a", 10, 30), ("b", 0, 20)], [("a", 20, 60), ("c", 0, 60)])
    assert span_recall(both) == pytest.approx(10 / 40)
    assert span_precision(both) == pytest.approx(10 / 100)


def test_overlapping_chunks_count_once() -> None:
    twice = found([("a", 0, 10)], [("a", 0, 10), ("a", 5, 20), ("a", 0, 10)])
    assert span_recall(twice) == 1
    assert span_precision(twice) == pytest.approx(10 / 20)


async def test_precision_of_nothing_is_not_known() -> None:
    nothing = found([("a", 0, 10)], [])
    assert await SPAN_RECALL.score([nothing], MeasureContext()) == [Score("c1", "span_recall", 0.0)]
    [row] = await SPAN_PRECISION.score([nothing], MeasureContext())
    assert isinstance(row, ScoringFailure)
    assert row.error_type == "NothingRetrieved"


def test_cases_without_an_answer_have_no_gold_spans() -> None:
    assert not SPAN_RECALL.applies(unanswerable())


PARTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(1, 20)).map(
        lambda part: (part[0], part[1], part[1] + part[2])
    ),
    min_size=1,
    max_size=6,
)


def characters(parts: list[tuple[str, int, int]]) -> set[tuple[str, int]]:
    return {(doc_id, i) for doc_id, start, end in parts for i in range(start, end)}


@given(PARTS, PARTS)
def test_both_are_what_counting_single_characters_gives(gold, chunks) -> None:
    right, got = characters(gold), characters(chunks)
    assert span_recall(found(gold, chunks)) == pytest.approx(len(right & got) / len(right))
    assert span_precision(found(gold, chunks)) == pytest.approx(len(right & got) / len(got))
