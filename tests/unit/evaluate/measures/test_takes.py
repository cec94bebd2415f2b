"""What an answer takes: seconds, tokens, money."""

import pytest

from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import MeasureContext, Score, ScoringFailure
from tests.cases import result


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("latency_s", 0.75),
        ("input_tokens", 700),
        ("cached_tokens", 512),
        ("output_tokens", 6),
        ("cost", 0.001),
    ],
)
async def test_what_an_answer_takes_is_read_from_it(name: str, expected: float) -> None:
    assert await measure(name).score([result()], MeasureContext()) == [Score("c1", name, expected)]
    assert measure(name).kind == "positive"


@pytest.mark.parametrize("name", ["input_tokens", "cached_tokens", "output_tokens", "cost"])
async def test_what_the_server_did_not_count_is_a_failure_and_not_zero(name: str) -> None:
    [row] = await measure(name).score([result(**{name: None})], MeasureContext())
    assert isinstance(row, ScoringFailure)
    assert row.error_type == "NotReported"
