"""What the door makes of every fault that a server has, on the stub of vLLM."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stub.engine import Speed
from benchmarks.stub.faults import (
    BrokenBody,
    Fault,
    Hang,
    HangingBody,
    LengthCut,
    Refusal,
    Restart,
    SlowBody,
    Status,
)
from benchmarks.stub.server import StubServer
from tasks.config import GeneratorModel, Price
from tasks.errors import CallFailed, TooManyFailures
from tasks.serve.cache import CallCache
from tasks.serve.client import Completion, ModelClient
from tasks.serve.transport import Backoff
from tasks.serve.version import ModelVersion, model_version

PRICE = Price(input_per_million=1.0, cached_input_per_million=0.1, output_per_million=2.0)
FAST = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.0005, max_num_seqs=8)


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(FAST) as running:
        yield running


def version(**changes: Any) -> ModelVersion:
    settings = {"format": "endpoint", "context_length": 8192, "price": PRICE} | changes
    return model_version("stub", GeneratorModel(**settings))


def door(server: StubServer, **options: Any) -> ModelClient:
    given: dict[str, Any] = {
        "cache": None,
        "attempts": 2,
        "timeout_s": 0.5,
        "backoff": Backoff(first_s=0.001, longest_s=0.01, longest_retry_after_s=0.2),
    }
    return ModelClient(server.url, version(), PRICE, **(given | options))


def brief(body: dict[str, Any]) -> str:
    return "yes, it is"


async def ask(client: ModelClient, number: int = 0) -> Completion:
    return await client.chat([{"role": "user", "content": f"ask {number}"}], purpose="judge")


@pytest.mark.parametrize(
    "fault", [Status(429, "0.05"), Status(500), BrokenBody(), Hang(), HangingBody()], ids=str
)
async def test_what_passes_is_tried_again(server: StubServer, fault: Fault):
    server.faults.append(fault)
    async with door(server) as client:
        assert (await ask(client)).text
        assert [record.attempts for record in client.meter.records] == [2]


async def test_a_slow_answer_that_ends_in_time_is_one(server: StubServer):
    server.faults.append(SlowBody(0.05))
    async with door(server, attempts=1) as client:
        assert (await ask(client)).text


async def test_a_slow_answer_that_does_not_end_in_time_is_given_up(server: StubServer):
    server.faults.append(SlowBody(0.3, pieces=10))
    async with door(server, attempts=1) as client:
        with pytest.raises(CallFailed, match=r"no answer within 0\.5 s"):
            await ask(client)


async def test_a_refusal_is_an_answer_that_says_so(server: StubServer):
    server.faults.append(Refusal("I won't."))
    async with door(server) as client:
        completion = await ask(client)
    assert (completion.text, completion.refused) == ("I won't.", True)


async def test_a_cut_answer_says_that_it_was_cut(server: StubServer):
    server.faults.append(LengthCut())
    async with door(server) as client:
        assert (await ask(client)).finish_reason == "length"


async def test_a_server_that_restarts_in_the_middle_loses_no_call(server: StubServer):
    async with door(server, attempts=1, server_wait_s=10.0, in_flight=8) as client:
        await ask(client)
        server.faults.append(Restart(0.5))
        answers = await asyncio.gather(*(ask(client, number) for number in range(30)))
    assert len(answers) == 30
    assert server.restarts == 1
    assert all(record.error is None for record in client.meter.records)


async def test_a_server_that_stays_away_ends_the_run_and_what_was_answered_is_kept(
    server: StubServer, tmp_path: Path
):
    with CallCache(tmp_path) as cache:
        async with door(server, cache=cache, attempts=1, server_wait_s=0.2) as client:
            for number in range(5):
                await ask(client, number)
            server.faults.append(Restart(60.0))
            outcomes = await asyncio.gather(
                *(ask(client, number) for number in range(40)), return_exceptions=True
            )
    kept = [outcome for outcome in outcomes if isinstance(outcome, Completion)]
    assert len(kept) == 5
    assert all(completion.cache_hit for completion in kept)
    assert sum(isinstance(outcome, TooManyFailures) for outcome in outcomes) == 35


async def test_auto_finds_what_the_server_can_batch_by_asking_it():
    speed = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.005, max_num_seqs=24)
    # Answers of many steps: the time between two calls is short beside that of one.
    with StubServer(speed, respond=lambda _: "yes " * 40) as server:
        async with door(server, in_flight="auto", timeout_s=30.0) as client:
            await asyncio.gather(*(ask(client, number) for number in range(600)))
            limit = client.stream.endpoints[0].governor.limit
    assert server.most_running == 24
    assert limit < 60


async def test_auto_grows_by_feedback_where_the_server_says_nothing():
    speed = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.02, max_num_seqs=64)
    with StubServer(speed, respond=brief, metrics=False) as server:
        async with door(server, in_flight="auto", timeout_s=30.0) as client:
            await asyncio.gather(*(ask(client, number) for number in range(800)))
    assert server.most_running > 24


async def test_auto_starts_with_what_the_server_was_told(server: StubServer):
    told = version(server_flags={"max-num-seqs": 48})
    client = ModelClient(server.url, told, PRICE, cache=None, in_flight="auto")
    async with client:
        assert client.stream.endpoints[0].governor.limit == 48


async def test_cached_tokens_cost_their_own_price(server: StubServer):
    message = [{"role": "user", "content": "word " * 200}]
    async with door(server) as client:
        first = await client.chat(message, purpose="judge")
        second = await client.chat(message, purpose="judge")
    assert second.cached_tokens is not None
    assert second.input_tokens is not None
    assert second.output_tokens is not None
    fresh = second.input_tokens - second.cached_tokens
    expected = (fresh + 0.1 * second.cached_tokens + 2 * second.output_tokens) / 1e6
    assert second.cost == pytest.approx(expected)
    assert first.cost is not None
    assert second.cost < first.cost


async def test_the_server_says_its_version_or_nothing(server: StubServer):
    async with door(server) as client:
        assert await client.server_version() == "0.32.0+stub"
        client.urls = (f"{server.url}/none/v1",)
        assert await client.server_version() is None
