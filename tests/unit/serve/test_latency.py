import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.stub.engine import Speed
from benchmarks.stub.faults import Status
from benchmarks.stub.server import StubServer
from tasks.config import GeneratorModel, Price
from tasks.errors import BudgetSpent
from tasks.serve.budget import Budget
from tasks.serve.client import ModelClient
from tasks.serve.latency import probe, quantiles, schedule
from tasks.serve.streamed import stream_once
from tasks.serve.version import model_version
from tests.servers import OpenAIServer

PRICE = Price(input_per_million=1.0, output_per_million=2.0)
SLOW = Speed(prefill_tokens_s=1e5, decode_tokens_s=200.0, step_s=0.001, max_num_seqs=8)
SIDES = ("champion", "challenger")


def door(url: str, model: str = "stub", **options: Any) -> ModelClient:
    settings = GeneratorModel(format="endpoint", context_length=8192, price=PRICE)
    return ModelClient(url, model_version(model, settings), PRICE, cache=None, **options)


def prompts(count: int) -> list[list[dict[str, str]]]:
    shared = "These words begin every prompt alike. " * 20
    return [[{"role": "user", "content": f"{shared} Question {n}?"}] for n in range(count)]


def test_arrivals_have_the_stated_rate_and_both_sides_get_every_prompt_in_turn():
    arrivals = schedule(SIDES, rate=4.0, requests=4_000, prompts=50, seed=1)
    gaps = np.diff([each.at_s for each in arrivals])
    # Exponential gaps: mean and standard deviation are 1 / rate.
    assert np.mean(gaps) == pytest.approx(0.25, rel=0.05)
    assert np.std(gaps) == pytest.approx(0.25, rel=0.05)
    pairs = list(zip(arrivals[::2], arrivals[1::2], strict=True))
    assert all({a.side, b.side} == set(SIDES) and a.prompt == b.prompt for a, b in pairs)
    assert 0.45 < np.mean([a.side == "champion" for a, _ in pairs]) < 0.55
    assert arrivals == schedule(SIDES, rate=4.0, requests=4_000, prompts=50, seed=1)
    assert arrivals != schedule(SIDES, rate=4.0, requests=4_000, prompts=50, seed=2)


def test_the_interval_holds_the_quantile_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        middle = quantiles(random.exponential(size=60))[0]
        assert middle.low is not None
        assert middle.high is not None
        hits += middle.low <= np.log(2) <= middle.high
    assert hits / 400 >= 0.93


def test_too_few_requests_bound_no_99th_percentile():
    values = [float(n) for n in range(1, 41)]
    median, _, high = quantiles(values)
    assert (median.value, median.low, median.high) == (20.0, 14.0, 27.0)
    assert (high.value, high.high) == (40.0, None)
    assert quantiles([]) == ()


async def test_a_streamed_answer_has_a_first_token_before_its_last():
    with StubServer(SLOW) as server:
        body = {"model": "stub", "messages": prompts(1)[0], "max_tokens": 12}
        said = await stream_once(f"{server.url}/chat/completions", body, headers={}, timeout_s=20.0)
    assert said.error is None
    assert said.first_token_s is not None
    assert said.per_token_s is not None
    assert 0 < said.first_token_s < said.total_s
    tokens = said.usage.output_tokens
    assert tokens is not None
    assert said.per_token_s == pytest.approx((said.total_s - said.first_token_s) / (tokens - 1))


async def test_a_probe_times_both_sides_and_pays_for_every_request():
    told: list[tuple[int, int]] = []
    with StubServer(SLOW) as server:
        async with door(server.url) as client:
            found = await probe(
                dict.fromkeys(SIDES, client),
                dict.fromkeys(SIDES, prompts(4)),
                rate=50.0,
                requests=8,
                seed=3,
                prefix_cache="as_is",
                progress=lambda done, total: told.append((done, total)),
            )
            totals = client.meter.totals()["latency"]
        asked = [body["messages"][0]["content"] for body in server.requests]
    assert told == [(done, 16) for done in range(1, 17)]
    assert (totals.calls, totals.failures, totals.unknown) == (16, 0, 0)
    assert totals.spent > 0
    assert sorted(asked) == sorted(4 * [m[0]["content"] for m in prompts(4)])
    for side in found.sides.values():
        assert (side.requests, side.failures) == (8, 0)
        assert [row.q for row in side.first_token_s] == [0.5, 0.95, 0.99]
        assert len(side.per_token_s) == len(side.total_s) == 3
        assert side.cached_tokens > 0


async def test_a_busted_cache_holds_no_beginning():
    with StubServer(SLOW) as server:
        async with door(server.url) as client:
            found = await probe(
                {"champion": client},
                {"champion": prompts(2)},
                rate=50.0,
                requests=6,
                seed=3,
                prefix_cache="busted",
            )
        asked = [body["messages"][0]["content"] for body in server.requests]
    assert len(set(asked)) == 6
    assert found.sides["champion"].cached_tokens == 0


async def test_failures_are_counted_and_have_no_time():
    with StubServer(SLOW) as server:
        server.faults.extend([Status(500), Status(429)])
        async with door(server.url) as client:
            found = await probe(
                {"champion": client},
                {"champion": prompts(2)},
                rate=100.0,
                requests=5,
                seed=0,
                prefix_cache="as_is",
            )
        assert len(server.requests) == 5
    assert found.sides["champion"].failures == 2


async def test_a_stream_that_is_none_is_a_failure():
    with OpenAIServer() as server:
        async with door(server.url, "tiny") as client:
            said = await client.time_stream(prompts(1)[0], purpose="latency")
        assert json.dumps(server.requests[0]["stream_options"]) == '{"include_usage": true}'
    assert said.error == "the stream broke off"


async def test_a_spent_budget_ends_a_probe(tmp_path: Path):
    budget = Budget(tmp_path / "spent.json", run=1.0, month=None, currency="USD")
    budget.add(1.0)
    with StubServer(SLOW) as server:
        async with door(server.url, budget=budget) as client:
            with pytest.raises(BudgetSpent):
                await probe(
                    {"champion": client},
                    {"champion": prompts(2)},
                    rate=5.0,
                    requests=20,
                    seed=0,
                    prefix_cache="as_is",
                )
        assert not server.requests
