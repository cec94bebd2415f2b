import pytest

from tasks.answer.generate import generate, render_passages
from tasks.config import Price
from tasks.errors import CallFailed
from tasks.serve.client import ModelClient
from tasks.serve.transport import Backoff
from tests.cases import chunk
from tests.evaluations import make_release
from tests.servers import OpenAIServer, Status, Text

PASSAGES = [chunk("heapq.heapify", text="Make a heap."), chunk("json.dumps", text="Make\n\ntext.")]


def door(server: OpenAIServer) -> ModelClient:
    return ModelClient(
        server.url,
        make_release().model,
        Price(machine_hour=1.0),
        cache=None,
        attempts=2,
        backoff=Backoff(first_s=0.001, longest_s=0.01),
    )


def test_passages_are_numbered_from_one_with_title_and_text():
    assert render_passages(PASSAGES) == (
        "[1] heapq.heapify\nMake a heap.\n\n[2] json.dumps\nMake\n\ntext."
    )
    assert render_passages([]) == ""


async def test_the_model_gets_the_prompt_with_the_passages_and_the_sampling_of_the_release():
    release = make_release(temperature=0.5)
    with OpenAIServer() as server:
        async with door(server) as client:
            answer = await generate("How?", PASSAGES, release, client, case_id="c7", repeat=1)
    [body] = server.requests
    assert body["messages"] == release.prompt.render(
        question="How?", passages=render_passages(PASSAGES)
    )
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.5, 96, 1)
    assert answer.case_id == "c7"
    assert answer.finish_reason == "stop"
    assert answer.input_tokens is not None
    assert answer.input_tokens > 0
    assert answer.latency_s > 0
    assert client.meter.records[0].purpose == "answer"


async def test_blanks_around_an_answer_go_and_an_answer_of_nothing_stays_an_answer():
    with OpenAIServer() as server:
        server.faults += [Text("\n heapq. \n"), Text(None, "length")]
        async with door(server) as client:
            first = await generate("a", [], make_release(), client)
            second = await generate("b", [], make_release(), client)
    assert (first.text, second.text, second.finish_reason) == ("heapq.", "", "length")


async def test_what_the_server_keeps_back_is_unknown_and_not_zero():
    with OpenAIServer(usage=False) as server:
        async with door(server) as client:
            answer = await generate("a", [], make_release(), client)
    assert (answer.input_tokens, answer.cached_tokens, answer.output_tokens) == (None, None, None)


async def test_half_of_a_character_from_the_server_becomes_one_that_can_be_stored():
    with OpenAIServer() as server:
        server.faults.append(Text("a \ud83d b"))
        async with door(server) as client:
            answer = await generate("a", [], make_release(), client)
    assert answer.text == "a \ufffd b"


async def test_a_call_that_fails_is_an_error_with_its_purpose():
    with OpenAIServer() as server:
        server.faults += [Status(500)] * 2
        async with door(server) as client:
            with pytest.raises(CallFailed, match="'ask' failed after 2 attempt") as caught:
                await generate("a", [], make_release(), client, purpose="ask")
    assert caught.value.status == 500
