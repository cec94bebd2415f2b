import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import Price
from tasks.serve.meter import CallRecord, FairShare, Meter, Usage, call_cost

TOKEN_PRICE = Price(input_per_million=2.0, cached_input_per_million=0.5, output_per_million=8.0)


def record(**changes: object) -> CallRecord:
    values: dict[str, object] = {
        "purpose": "answer",
        "model": "tiny",
        "attempts": 1,
        "input_tokens": 10,
        "cached_tokens": 4,
        "output_tokens": 3,
        "latency_s": 0.5,
        "cost": 0.25,
        "cache_hit": False,
        "error": None,
    }
    return CallRecord(**(values | changes))


def test_a_call_costs_its_fresh_cached_and_output_tokens() -> None:
    cost = call_cost(TOKEN_PRICE, Usage(1_000_000, 400_000, 100_000), machine_s=9.0)
    assert cost == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 8)


def test_cached_tokens_cost_the_input_price_when_they_have_none_of_their_own() -> None:
    price = Price(input_per_million=2.0, output_per_million=8.0)
    assert call_cost(price, Usage(1_000_000, 400_000, 0), 0.0) == pytest.approx(2.0)


def test_a_cost_is_unknown_when_tokens_are_priced_and_not_known() -> None:
    assert call_cost(TOKEN_PRICE, Usage(None, None, None), 3.0) is None


def test_a_machine_hour_is_paid_by_its_seconds() -> None:
    price = Price(machine_hour=7200.0)
    assert call_cost(price, Usage(None, None, None), 3.0) == pytest.approx(6.0)


def test_requests_that_overlap_share_the_machine() -> None:
    now = [0.0]
    shares = FairShare(lambda: now[0])
    with shares.request() as first:
        now[0] = 2.0
        with shares.request() as second:
            now[0] = 6.0
        now[0] = 7.0
    now[0] = 100.0
    assert first() == pytest.approx(2 + 4 / 2 + 1)
    assert second() == pytest.approx(4 / 2)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=12))
def test_shares_add_up_to_the_busy_seconds(spans: list[tuple[float, float]]) -> None:
    now = [0.0]
    shares = FairShare(lambda: now[0])
    calls = [(min(span), max(span), shares.request()) for span in spans]
    events = sorted(
        [(start, 0, number) for number, (start, _, _) in enumerate(calls)]
        + [(end, 1, number) for number, (_, end, _) in enumerate(calls)]
    )
    share, busy, in_flight = {}, 0.0, 0
    for time, is_end, number in events:
        busy += (time - now[0]) * (in_flight > 0)
        now[0] = time
        if is_end:
            calls[number][2].__exit__(None, None, None)
            in_flight -= 1
        else:
            share[number] = calls[number][2].__enter__()
            in_flight += 1
    assert sum(used() for used in share.values()) == pytest.approx(busy, abs=1e-9)


def test_totals_keep_what_was_spent_apart_from_what_a_first_run_costs() -> None:
    meter = Meter()
    meter.add(record())
    meter.add(record(cache_hit=True, attempts=0))
    meter.add(record(purpose="judge", attempts=3, error="gone", input_tokens=None, cost=None))
    totals = meter.totals()
    assert list(totals) == ["answer", "judge"]
    answer = totals["answer"]
    assert (answer.calls, answer.cache_hits, answer.attempts) == (2, 1, 1)
    assert (answer.input_tokens, answer.cached_tokens, answer.output_tokens) == (10, 4, 3)
    assert (answer.spent, answer.nominal) == (0.25, 0.5)
    assert (totals["judge"].failures, totals["judge"].attempts) == (1, 3)


def test_totals_count_answered_calls_that_nobody_can_price() -> None:
    meter = Meter()
    meter.add(record(cost=None, output_tokens=None))
    assert meter.totals()["answer"].unknown == 1


def test_machine_time_is_that_of_calls_that_were_sent_and_unknown_where_tokens_are_priced() -> None:
    meter = Meter()
    meter.add(record(machine_s=1.5))
    meter.add(record(machine_s=0.5, error="it failed"))
    meter.add(record(cache_hit=True))
    meter.add(record(purpose="judge"))
    totals = meter.totals()
    assert totals["answer"].machine_s == 2.0
    assert totals["judge"].machine_s is None
