import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tasks.config import GeneratorModel, Price, Sampling
from tasks.errors import CallFailed, TooManyFailures
from tasks.serve.cache import CallCache
from tasks.serve.client import ModelClient, ratchet_error
from tasks.serve.transport import Backoff
from tasks.serve.version import ModelVersion, model_version
from tests.servers import Fault, Hang, OpenAIServer, Raw, Reset, Status, Text

QUESTION = [{"role": "user", "content": "what is it"}]
PRICE = Price(input_per_million=1_000_000.0, output_per_million=2_000_000.0)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CallCache]:
    with CallCache(tmp_path / "cache") as opened:
        yield opened


def version(name: str = "tiny", **changes: Any) -> ModelVersion:
    settings = {"format": "endpoint", "context_length": 512, "price": PRICE} | changes
    return model_version(name, GeneratorModel(**settings))


def client(server: OpenAIServer, *, cache: CallCache | None = None, **changes: Any) -> ModelClient:
    options: dict[str, Any] = {
        "attempts": 3,
        "timeout_s": 5.0,
        "backoff": Backoff(first_s=0.001, longest_s=0.01, longest_retry_after_s=0.05),
    }
    price = changes.pop("price", PRICE)
    served = changes.pop("version", version())
    return ModelClient(server.url, served, price, cache=cache, **(options | changes))


def files_with(directory: Path, content: bytes) -> list[Path]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if content in path.read_bytes()]


async def test_a_completion_carries_text_tokens_and_cost(server: OpenAIServer) -> None:
    async with client(server) as door:
        completion = await door.chat(QUESTION, purpose="answer")
    assert completion.text == "answer to what is it"
    assert completion.finish_reason == "stop"
    assert (completion.input_tokens, completion.cached_tokens, completion.output_tokens) == (
        3,
        1,
        5,
    )
    assert completion.cost == pytest.approx(3 * 1 + 5 * 2)
    assert completion.latency_s > 0
    assert not completion.cache_hit


async def test_the_request_holds_the_sampling_and_the_schema(server: OpenAIServer) -> None:
    schema = {"type": "object", "title": "rubric"}
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, seed=3)
    async with client(server) as door:
        await door.chat(QUESTION, purpose="judge", sampling=sampling, schema=schema, repeat=2)
    [body] = server.requests
    assert body["response_format"]["json_schema"] == {
        "name": "rubric",
        "schema": schema,
        "strict": True,
    }
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.5, 0.9, 7)
    assert body["seed"] == 5
    assert "judge" not in json.dumps(body)


async def test_an_empty_answer_is_a_completion(server: OpenAIServer) -> None:
    server.faults.extend([Text("", "length"), Text(None)])
    async with client(server) as door:
        empty = await door.chat(QUESTION, purpose="answer")
        missing = await door.chat(QUESTION, purpose="answer")
    assert (empty.text, empty.finish_reason) == ("", "length")
    assert missing.text == ""


async def test_an_answer_is_asked_for_once_and_remembers_what_it_took(
    server: OpenAIServer, cache: CallCache
) -> None:
    async with client(server, cache=cache) as door:
        first = await door.chat(QUESTION, purpose="answer")
        second = await door.chat(QUESTION, purpose="other")
        totals = door.meter.totals()
    assert len(server.requests) == 1
    assert second.cache_hit
    assert (second.text, second.latency_s, second.cost) == (first.text, first.latency_s, first.cost)
    assert totals["other"].spent == 0
    assert totals["other"].nominal == first.cost


async def test_the_cache_outlives_the_client(server: OpenAIServer, tmp_path: Path) -> None:
    for _ in range(2):
        with CallCache(tmp_path / "kept") as opened:
            async with client(server, cache=opened) as door:
                await door.chat(QUESTION, purpose="answer")
    assert len(server.requests) == 1


async def test_another_model_repeat_sampling_or_schema_is_another_call(
    server: OpenAIServer, cache: CallCache
) -> None:
    async with client(server, cache=cache) as door:
        await door.chat(QUESTION, purpose="answer")
        await door.chat(QUESTION, purpose="answer", repeat=1)
        await door.chat(QUESTION, purpose="answer", sampling=Sampling(max_tokens=5))
        await door.chat(QUESTION, purpose="answer", schema={"type": "object"})
    async with client(server, cache=cache, version=version(context_length=64)) as door:
        await door.chat(QUESTION, purpose="answer")
    assert len(server.requests) == 5


async def test_equal_calls_at_the_same_time_are_sent_once(
    server: OpenAIServer, cache: CallCache
) -> None:
    server.delay_s = 0.05
    async with client(server, cache=cache) as door:
        await asyncio.gather(*(door.chat(QUESTION, purpose="answer") for _ in range(5)))
        totals = door.meter.totals()["answer"]
    assert len(server.requests) == 1
    assert (totals.calls, totals.cache_hits) == (5, 4)


@pytest.mark.parametrize(
    "fault",
    [Status(500), Status(503), Status(429, "0"), Status(408), Reset(), Raw(b"<html>"), Raw(b"{}")],
    ids=str,
)
async def test_what_is_transient_is_tried_again(server: OpenAIServer, fault: Fault) -> None:
    server.faults.extend([fault, fault])
    async with client(server) as door:
        completion = await door.chat(QUESTION, purpose="answer")
    assert completion.text
    assert [record.attempts for record in door.meter.records] == [3]


async def test_a_call_that_hangs_is_given_up_in_time_and_tried_again(server: OpenAIServer) -> None:
    server.faults.append(Hang(600))
    async with client(server, timeout_s=2.0) as door:
        await door.chat(QUESTION, purpose="answer")
    assert len(server.requests) == 2


async def test_the_server_says_how_long_to_wait(server: OpenAIServer) -> None:
    server.faults.append(Status(429, "0.2"))
    backoff = Backoff(first_s=0.001, longest_s=0.01, longest_retry_after_s=1.0)
    started = time.monotonic()
    async with client(server, backoff=backoff) as door:
        await door.chat(QUESTION, purpose="answer")
    assert time.monotonic() - started >= 0.2


async def test_a_date_in_the_past_means_now(server: OpenAIServer) -> None:
    server.faults.append(Status(503, "Wed, 21 Oct 2015 07:28:00 GMT"))
    async with client(server) as door:
        assert (await door.chat(QUESTION, purpose="answer")).text


async def test_a_refused_request_is_not_tried_again(server: OpenAIServer) -> None:
    server.faults.append(Status(400, message="too many tokens"))
    async with client(server) as door:
        with pytest.raises(CallFailed, match="too many tokens") as caught:
            await door.chat(QUESTION, purpose="judge")
    assert (caught.value.purpose, caught.value.attempts, caught.value.status) == ("judge", 1, 400)


async def test_a_failure_is_recorded_with_its_attempts_and_never_cached(
    server: OpenAIServer, cache: CallCache
) -> None:
    server.faults.extend([Status(500)] * 3)
    async with client(server, cache=cache) as door:
        with pytest.raises(CallFailed, match="status 500") as caught:
            await door.chat(QUESTION, purpose="answer")
        [record] = door.meter.records
        completion = await door.chat(QUESTION, purpose="answer")
    assert (caught.value.attempts, caught.value.status) == (3, 500)
    assert (record.attempts, record.input_tokens, record.latency_s) == (3, None, None)
    assert record.error == caught.value.message
    assert not completion.cache_hit


async def test_a_server_that_comes_back_is_found_again(server: OpenAIServer) -> None:
    async with client(server) as door:
        await door.chat(QUESTION, purpose="answer")
        server.stop()
        with pytest.raises(CallFailed, match="the connection failed") as caught:
            await door.chat(QUESTION, purpose="answer")
        server.start()
        await door.chat(QUESTION, purpose="answer")
    assert caught.value.status is None


async def test_a_run_ends_when_its_server_is_gone(server: OpenAIServer) -> None:
    async with client(server, in_flight=4) as door:
        for number in range(5):
            await door.chat([{"role": "user", "content": str(number)}], purpose="answer")
        server.stop()
        outcomes = await asyncio.gather(
            *(door.chat(QUESTION, purpose="answer") for _ in range(60)), return_exceptions=True
        )
        with pytest.raises(TooManyFailures, match="of the last 20 model calls failed"):
            await door.chat(QUESTION, purpose="answer")
    kinds = [type(outcome) for outcome in outcomes]
    assert set(kinds) == {CallFailed, TooManyFailures}
    assert kinds.count(CallFailed) < 40


async def test_few_failures_do_not_end_a_run(server: OpenAIServer) -> None:
    server.faults.extend([Status(400)] * 9)
    async with client(server, in_flight=1) as door:
        outcomes = await asyncio.gather(
            *(door.chat(QUESTION, purpose="answer") for _ in range(40)), return_exceptions=True
        )
    assert sum(isinstance(outcome, CallFailed) for outcome in outcomes) == 9


async def test_no_more_requests_are_in_flight_than_allowed(server: OpenAIServer) -> None:
    server.delay_s = 0.01
    async with client(server, in_flight=3) as door:
        await asyncio.gather(*(door.chat(QUESTION, purpose="answer") for _ in range(12)))
    assert server.most_in_flight == 3


async def test_requests_that_share_the_machine_share_its_price(server: OpenAIServer) -> None:
    server.delay_s = 0.1
    price = Price(machine_hour=3600.0)
    started = time.monotonic()
    async with client(server, price=price, in_flight=8) as door:
        await asyncio.gather(*(door.chat(QUESTION, purpose="answer") for _ in range(8)))
    seconds = time.monotonic() - started
    assert 0.09 < door.meter.totals()["answer"].spent <= seconds


async def test_tokens_that_nobody_counted_are_unknown(server: OpenAIServer) -> None:
    server.usage = False
    async with client(server) as door:
        completion = await door.chat(QUESTION, purpose="answer")
    assert (completion.input_tokens, completion.output_tokens, completion.cost) == (None,) * 3
    assert door.meter.totals()["answer"].unknown == 1


async def test_the_key_is_sent_and_written_nowhere(server: OpenAIServer, tmp_path: Path) -> None:
    key = "sk-very-secret-1234567890"
    server.api_key = key
    with CallCache(tmp_path / "cache") as opened:
        async with client(server, cache=opened, api_key=key) as door:
            await door.chat(QUESTION, purpose="answer")
            await door.openai("judge").chat.completions.create(model="tiny", messages=QUESTION)
            server.api_key = "another"
            with pytest.raises(CallFailed, match="Check the API key") as caught:
                await door.chat([{"role": "user", "content": "new"}], purpose="answer")
    assert [headers["authorization"] for headers in server.headers] == [f"Bearer {key}"] * 3
    assert key not in str(caught.value)
    assert key not in repr(door.meter.records)
    assert not files_with(tmp_path, key.encode())


async def test_a_library_calls_through_the_same_door(
    server: OpenAIServer, cache: CallCache
) -> None:
    async with client(server, cache=cache) as door:
        library = door.openai("faithfulness")
        for _ in range(2):
            answer = await library.chat.completions.create(model="tiny", messages=QUESTION)
        assert door.openai("faithfulness") is library
        totals = door.meter.totals()["faithfulness"]
    assert answer.choices[0].message.content == "answer to what is it"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3
    assert (totals.calls, totals.cache_hits, len(server.requests)) == (2, 1, 1)


async def test_a_library_does_not_retry_beside_the_door(server: OpenAIServer) -> None:
    server.faults.extend([Status(500)] * 10)
    async with client(server, attempts=2) as door:
        with pytest.raises(openai.APIConnectionError) as caught:
            await door.openai("judge").chat.completions.create(model="tiny", messages=QUESTION)
    failure = ratchet_error(caught.value)
    assert isinstance(failure, CallFailed)
    assert failure.purpose == "judge"
    assert len(server.requests) == 2


async def test_a_stream_is_refused_because_it_counts_no_tokens(server: OpenAIServer) -> None:
    async with client(server) as door:
        with pytest.raises(openai.APIConnectionError) as caught:
            await door.openai("judge").chat.completions.create(
                model="tiny", messages=QUESTION, stream=True
            )
    assert "streams are not allowed" in str(ratchet_error(caught.value))
    assert server.requests == []


async def test_a_cancelled_call_is_recorded(server: OpenAIServer) -> None:
    server.faults.append(Hang(5))
    async with client(server) as door:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(door.chat(QUESTION, purpose="answer"), 0.1)
    assert [record.error for record in door.meter.records] == ["the call was cancelled"]


async def test_a_pinned_model_is_asked_for_by_its_version(server: OpenAIServer) -> None:
    pinned = version(sha256="a" * 64)
    server.models = (pinned.served_name,)
    async with client(server, version=pinned) as door:
        await door.chat(QUESTION, purpose="answer")
    assert server.requests[0]["model"] == pinned.served_name
