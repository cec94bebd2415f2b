import asyncio
import json
from typing import Any

import httpx
import pytest

from benchmarks.stub.engine import Speed
from benchmarks.stub.faults import (
    BrokenBody,
    Fault,
    HangingBody,
    LengthCut,
    Malformed,
    Refusal,
    Restart,
    SlowBody,
    Status,
)
from benchmarks.stub.server import StubServer
from tasks.serve.vllm import answers

FAST = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.0005, max_num_seqs=8)


def body(text: str = "how long", **more: Any) -> dict[str, Any]:
    return {"model": "stub", "messages": [{"role": "user", "content": text}], **more}


def ask(server: StubServer, **more: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/chat/completions", json=body(**more), timeout=10)


def test_the_same_request_has_the_same_answer_and_fits_its_schema():
    schema = {
        "type": "object",
        "properties": {"verdict": {"type": "integer", "enum": [0, 1]}, "why": {"type": "string"}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "v", "schema": schema}}
    with StubServer(FAST) as server:
        texts = [
            ask(server, response_format=form).json()["choices"][0]["message"]["content"]
            for _ in range(2)
        ]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["verdict"] in (0, 1)


def test_a_second_ask_reports_its_cached_tokens():
    with StubServer(FAST) as server:
        usages = [ask(server, text="word " * 100).json()["usage"] for _ in range(2)]
        metrics = httpx.get(server.url.replace("/v1", "/metrics")).text
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    assert cached[0] == 0
    assert cached[1] > 90
    assert "vllm:num_requests_waiting" in metrics


def test_requests_at_the_same_time_are_batched():
    slow = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.005, max_num_seqs=4)

    async def together(server: StubServer) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            await asyncio.gather(
                *(
                    client.post(f"{server.url}/chat/completions", json=body(str(n)))
                    for n in range(12)
                )
            )

    with StubServer(slow) as server:
        asyncio.run(together(server))
        assert server.most_running == 4
        assert len(server.requests) == 12


def test_a_stream_gives_the_text_in_pieces_and_the_tokens_at_the_end():
    with StubServer(FAST) as server:
        whole = ask(server).json()["choices"][0]["message"]["content"]
        lines = [
            json.loads(line[6:])
            for line in ask(server, stream=True).text.split("\n\n")
            if line.startswith("data: {")
        ]
    assert "".join(line["choices"][0]["delta"].get("content", "") for line in lines) == whole
    assert lines[-1]["usage"]["completion_tokens"] > 1


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        (Status(429, "0.5"), lambda r: (r.status_code, r.headers["retry-after"]) == (429, "0.5")),
        (Malformed("no json"), lambda r: r.json()["choices"][0]["message"]["content"] == "no json"),
        (BrokenBody(b"<html>"), lambda r: r.content == b"<html>"),
        (LengthCut(), lambda r: r.json()["choices"][0]["finish_reason"] == "length"),
        (Refusal("no"), lambda r: r.json()["choices"][0]["message"]["refusal"] == "no"),
        (SlowBody(0.01), lambda r: r.json()["choices"][0]["finish_reason"] == "stop"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_is_used_once(fault: Fault, holds: Any):
    with StubServer(FAST) as server:
        server.faults.append(fault)
        assert holds(ask(server))
        assert ask(server).json()["choices"][0]["finish_reason"] == "stop"


def test_a_hanging_body_begins_and_does_not_end():
    with StubServer(FAST) as server:
        server.faults.append(HangingBody())
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/chat/completions", json=body(), timeout=1)


def test_a_restart_breaks_connections_empties_the_cache_and_ends():
    with StubServer(FAST) as server:
        ask(server, text="word " * 100)
        server.faults.append(Restart(2.0))
        with pytest.raises(httpx.HTTPError):
            ask(server)
        with pytest.raises(httpx.HTTPError):
            ask(server)
        while not answers(server.url.replace("/v1", "/health")):
            pass
        again = ask(server, text="word " * 100).json()
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert server.restarts == 1
