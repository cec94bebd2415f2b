"""One model at several servers, on stubs of vLLM and on servers that are killed."""

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stub.engine import Speed
from benchmarks.stub.faults import Restart, Status
from benchmarks.stub.server import StubServer
from tasks.config import GeneratorModel, Price
from tasks.errors import TooManyFailures
from tasks.serve.cache import CallCache
from tasks.serve.client import ModelClient
from tasks.serve.endpoint import Endpoint, preferred, prefix_key
from tasks.serve.governor import Governor
from tasks.serve.label import CallLabel, calling
from tasks.serve.stream import Stream
from tasks.serve.transport import Backoff
from tasks.serve.version import model_version
from tests.servers import OpenAIServer

PRICE = Price(input_per_million=1.0, output_per_million=2.0)
FAST = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.0005, max_num_seqs=8)
PASSAGES = "Passage {case}. " + "It says what it says and nothing else. " * 20
CASES, CALLS = 24, 3


def door(urls: Sequence[str], model: str = "stub", **options: Any) -> ModelClient:
    version = model_version(
        model, GeneratorModel(format="endpoint", context_length=8192, price=PRICE)
    )
    given: dict[str, Any] = {
        "cache": None,
        "in_flight": 4,
        "attempts": 2,
        "timeout_s": 20.0,
        "backoff": Backoff(first_s=0.001, longest_s=0.01, longest_retry_after_s=0.2),
    }
    return ModelClient(urls, version, PRICE, **(given | options))


async def ask(client: ModelClient, case: int, number: int) -> str:
    with calling(position=case):
        said = await client.chat(
            [{"role": "user", "content": f"{PASSAGES.format(case=case)}\nQuestion {number}?"}],
            purpose="judge",
        )
    return said.text


async def ask_all(client: ModelClient) -> list[str]:
    return await asyncio.gather(
        *(ask(client, case, number) for case in range(CASES) for number in range(CALLS))
    )


def endpoints(*names: str, limit: int = 1) -> list[Endpoint]:
    return [Endpoint(name, Governor(limit=limit, cap=limit, fixed=True)) for name in names]


def test_when_a_server_goes_only_its_own_prefixes_move():
    three = endpoints("http://a/v1", "http://b/v1", "http://c/v1")
    keys = [prefix_key(position, "") for position in range(300)]
    before = {key: preferred(key, three) for key in keys}
    after = {key: preferred(key, three[:2]) for key in keys}
    assert min(Counter(each.url for each in before.values()).values()) > 60
    assert all(after[key] is before[key] for key in keys if before[key] is not three[2])


def test_calls_of_no_case_are_told_apart_by_how_they_begin():
    begin = "x" * 2_000
    assert prefix_key(None, begin + "a") == prefix_key(None, begin + "b")
    assert prefix_key(None, "a" + begin) != prefix_key(None, "b" + begin)
    assert prefix_key(3, "a") == prefix_key(3, "b") != prefix_key(4, "a")


async def test_a_full_server_spills_to_one_that_has_nothing_to_do():
    one, two = endpoints("http://one/v1", "http://two/v1")
    stream = Stream([one, two])
    held, free = asyncio.Event(), asyncio.Event()

    async def call(number: int) -> Endpoint:
        async with stream.turn(CallLabel("judge", position=7), f"prompt {number}") as endpoint:
            if stream.in_flight == 2:
                held.set()
            await free.wait()
            return endpoint

    calls = [asyncio.create_task(call(number)) for number in range(2)]
    await held.wait()
    free.set()
    assert {each.url for each in await asyncio.gather(*calls)} == {one.url, two.url}
    home = preferred("case 7", [one, two])
    assert {each.url: each.spilled for each in (one, two)} == {
        each.url: int(each is not home) for each in (one, two)
    }


async def test_a_call_is_not_spilled_to_a_server_that_failed_on_it():
    one, two = endpoints("http://one/v1", "http://two/v1")
    stream = Stream([one, two])
    got: list[str] = []

    async def call() -> None:
        label = CallLabel("judge", position=7)
        async with stream.turn(label, "", frozenset({one.url})) as endpoint:
            got.append(endpoint.url)
            await asyncio.sleep(0)

    await asyncio.gather(*(call() for _ in range(6)))
    assert got == [two.url] * 6


async def test_several_servers_give_what_one_gives_and_a_case_stays_at_one_of_them():
    with ExitStack() as stack:
        alone, *servers = [stack.enter_context(StubServer(FAST)) for _ in range(4)]
        async with door([alone.url]) as client:
            expected = await ask_all(client)
        # So many at a time that no server is ever full, and nothing has to spill.
        async with door([each.url for each in servers], in_flight=CASES * CALLS) as client:
            assert await ask_all(client) == expected
            totals = client.endpoint_totals()
        at: dict[str, set[int]] = {}
        for number, server in enumerate(servers):
            for body in server.requests:
                at.setdefault(body["messages"][0]["content"].split(".")[0], set()).add(number)
    assert sum(each.answered for each in totals.values()) == CASES * CALLS
    assert all(each.answered for each in totals.values())
    assert len(at) == CASES
    assert all(len(places) == 1 for places in at.values())


async def test_what_one_server_answered_is_not_asked_at_another(tmp_path: Path):
    with (
        StubServer(FAST) as first,
        StubServer(FAST) as second,
        CallCache(tmp_path / "cache") as cache,
    ):
        async with door([first.url], cache=cache) as client:
            before = await ask_all(client)
        async with door([second.url, first.url], cache=cache) as client:
            assert await ask_all(client) == before
        assert not second.requests


async def test_a_server_that_is_killed_in_the_middle_loses_no_call_and_no_attempt():
    reached = threading.Event()

    def answer(body: dict[str, Any]) -> str:
        return f"answer to {body['messages'][-1]['content'][-12:]}"

    def answer_until_killed(body: dict[str, Any]) -> str:
        if len(dying.requests) >= 5:
            reached.set()
            dying.closing.wait()
        return answer(body)

    with OpenAIServer(answer) as alone:
        async with door([alone.url], "tiny") as client:
            expected = await ask_all(client)
    with OpenAIServer(answer) as living, OpenAIServer(answer_until_killed) as dying:

        async def kill() -> None:
            assert await asyncio.to_thread(reached.wait, 60)
            await asyncio.to_thread(dying.stop)

        # A single attempt: what the dead server had doesn't count as one.
        async with door([living.url, dying.url], "tiny", attempts=1) as client:
            said, _ = await asyncio.gather(ask_all(client), kill())
            totals = client.endpoint_totals()
    assert said == expected
    assert totals[dying.url].outages >= 1
    assert sum(each.answered for each in totals.values()) == CASES * CALLS


async def test_a_server_that_comes_back_is_used_again():
    with StubServer(FAST) as steady, StubServer(FAST) as moody:
        moody.faults.append(Restart(away_s=0.2))
        async with door([steady.url, moody.url]) as client:
            await ask_all(client)
            away = client.stream.endpoints[1]
            assert away.outages >= 1
            async with asyncio.timeout(30):
                while away.away:  # noqa: ASYNC110  # the door has no event for it
                    await asyncio.sleep(0.01)
            before = away.answered
            await ask_all(client)
            assert away.answered > before


async def test_a_call_that_one_server_refuses_goes_to_another_at_once():
    with StubServer(FAST) as one, StubServer(FAST) as two:
        busy = [Status(429, retry_after="3600"), Status(500), Status(503)]
        one.faults.extend(busy)
        async with door([one.url, two.url], backoff=Backoff()) as client:
            async with asyncio.timeout(60):
                assert all(await ask_all(client))
            assert client.endpoint_totals()[one.url].failures == len(busy)
            assert client.meter.totals()["judge"].failures == 0


@pytest.mark.parametrize("wait_s", [0.0, 0.2])
async def test_a_run_ends_when_all_its_servers_are_gone(wait_s: float):
    servers = [OpenAIServer().start() for _ in range(2)]
    for server in servers:
        server.stop()
    urls = [server.url for server in servers]
    async with door(urls, "tiny", server_wait_s=wait_s) as client:
        said = await asyncio.gather(
            *(ask(client, case, 0) for case in range(30)), return_exceptions=True
        )
    assert not [each for each in said if isinstance(each, str)]
    assert isinstance(said[-1], TooManyFailures)
