"""A stub of vLLM's OpenAI server: real HTTP, simulated time, faults on order.

python -m benchmarks.stub.server --port 8100 --prefill 30000 --decode 4000
"""

import argparse
import asyncio
import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from benchmarks.stub.engine import Engine, Request, Speed, request_of, tokens_of
from benchmarks.stub.faults import (
    BrokenBody,
    Fault,
    Hang,
    HangingBody,
    LengthCut,
    Malformed,
    Refusal,
    Restart,
    SlowBody,
    Status,
)
from benchmarks.stub.respond import respond as default_respond

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Respond = Callable[[dict[str, Any]], str]
MODEL = "stub"


class StubServer:
    """Serves chat completions, streamed or whole, `/v1/models`, `/metrics`, `/health`, `/version`.

    `faults` are used up one a request, in order. `requests` holds every body that arrived.

    Args:
        speed: what the simulated machine can do.
        respond: request body -> text.
        models: names that it serves.
        max_model_len: tokens of a prompt and its answer together.
        port: 0 takes a free one.
        metrics: whether `/metrics` exists, as it does not behind most gateways.
    """

    def __init__(
        self,
        speed: Speed | None = None,
        *,
        respond: Respond = default_respond,
        models: tuple[str, ...] = (MODEL,),
        max_model_len: int = 8_192,
        port: int = 0,
        metrics: bool = True,
    ) -> None:
        self.speed = speed or Speed()
        self.respond = respond
        self.models = models
        self.max_model_len = max_model_len
        self.port = port
        self.metrics = metrics
        self.faults: deque[Fault] = deque()
        self.requests: list[dict[str, Any]] = []
        self.answered = 0
        """Requests that were computed to the end."""
        self.most_running = 0
        self.busy_s = 0.0
        """Simulated seconds in which the machine worked."""
        self.restarts = 0
        self._engine = Engine(self.speed)
        self._done: dict[int, asyncio.Event] = {}
        self._first: dict[int, asyncio.Event] = {}
        self._work = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._open: set[asyncio.Transport] = set()
        self._away_until = 0.0

    @property
    def url(self) -> str:
        """Up to `/v1`."""
        return f"http://127.0.0.1:{self.port}/v1"

    # --- life -----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._work = asyncio.Event()

        @web.middleware
        async def while_away(http: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._while_away(http, handler)

        app = web.Application(client_max_size=64 * 2**20, middlewares=[while_away])  # type: ignore[list-item]  # what the decorator returns is one
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._health)
        app.router.add_get("/version", self._version)
        app.router.add_get("/stub", self._report)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1_024)
        await site.start()
        self.port = runner.addresses[0][1]
        stepping = asyncio.create_task(self._steps())
        ready.set()
        await self._stop.wait()
        stepping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stepping
        self._break_connections()
        await runner.cleanup()

    async def _steps(self) -> None:
        due = time.monotonic()
        while True:
            if self._engine.idle:
                self._work.clear()
                await self._work.wait()
                # Requests that arrive together are scheduled together.
                due = time.monotonic()
            step = self._engine.step()
            self.most_running = max(self.most_running, len(self._engine.running))
            self.busy_s += step.seconds
            due += step.seconds
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            for request in step.started:
                self._set(self._first, request)
            for request in step.finished:
                self._set(self._first, request)
                self._set(self._done, request)

    @staticmethod
    def _set(events: dict[int, asyncio.Event], request: Request) -> None:
        event = events.get(id(request))
        if event is not None:
            event.set()

    def _break_connections(self) -> None:
        for transport in list(self._open):
            transport.abort()

    def _restart(self, away_s: float) -> None:
        self.restarts += 1
        self._away_until = time.monotonic() + away_s
        self._engine = Engine(self.speed)
        self._break_connections()

    # --- requests -------------------------------------------------------------------------------

    async def _while_away(self, http: web.Request, handler: Handler) -> web.StreamResponse:
        transport = http.transport
        if transport is None or time.monotonic() < self._away_until:
            self._abort(http)
            return web.Response(status=503)
        self._open.add(transport)
        try:
            return await handler(http)
        finally:
            self._open.discard(transport)

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        body = await http.json()
        self.requests.append(body)
        fault = self.faults.popleft() if self.faults else None
        if body.get("model") not in self.models:
            return _problem(404, f"The model `{body.get('model')}` does not exist.")
        if isinstance(fault, Status):
            extra = {"retry-after": fault.retry_after} if fault.retry_after is not None else {}
            return _problem(fault.code, fault.message, extra)
        if isinstance(fault, Restart):
            self._restart(fault.away_s)
            return web.Response(status=503)
        if isinstance(fault, Hang):
            await asyncio.sleep(fault.seconds)
            self._abort(http)
            return web.Response(status=503)
        text, finish = self._text(body, fault)
        prompt = prompt_of(body)
        request = self._request(prompt, text)
        if (body.get("n") or 1) > 1:
            return await self._several(body, prompt)
        if request.prompt_tokens + 1 > self.max_model_len:
            return _problem(400, f"This model's maximum context length is {self.max_model_len}.")
        first, done = asyncio.Event(), asyncio.Event()
        self._first[id(request)], self._done[id(request)] = first, done
        engine = self._engine
        engine.add(request)
        self._work.set()
        try:
            if body.get("stream"):
                return await self._streamed(http, body, text or "", finish, request, first, done)
            await done.wait()
        except asyncio.CancelledError:
            engine.remove(request)
            raise
        finally:
            del self._first[id(request)], self._done[id(request)]
        self.answered += 1
        content = json.dumps(self._completion(body, text, finish, request, fault)).encode()
        if isinstance(fault, BrokenBody):
            content = fault.body
        if isinstance(fault, SlowBody | HangingBody):
            return await self._in_pieces(http, content, fault)
        return web.Response(body=content, content_type="application/json")

    async def _several(self, body: dict[str, Any], prompt: str) -> web.Response:
        """Several samples of one prompt run side by side, and all but the first find it cached."""
        texts = [self._text(body | {"seed": number}, None) for number in range(body["n"])]
        requests = [self._request(prompt, text) for text, _ in texts]
        events = [asyncio.Event() for _ in requests]
        for request, event in zip(requests, events, strict=True):
            self._done[id(request)] = event
            self._engine.add(request)
        self._work.set()
        try:
            await asyncio.gather(*(event.wait() for event in events))
        finally:
            for request in requests:
                del self._done[id(request)]
        self.answered += 1
        answers = [
            self._completion(body, text, finish, request, None)
            for (text, finish), request in zip(texts, requests, strict=True)
        ]
        choices = [
            answer["choices"][0] | {"index": number} for number, answer in enumerate(answers)
        ]
        return web.json_response(answers[0] | {"choices": choices})

    def _request(self, prompt: str, text: str | None) -> Request:
        return request_of(prompt, len(tokens_of(text or "")), self.speed.block_tokens)

    def _text(self, body: dict[str, Any], fault: Fault | None) -> tuple[str | None, str]:
        if isinstance(fault, Malformed):
            return fault.text, "stop"
        if isinstance(fault, Refusal):
            return None, "stop"
        text = self.respond(body)
        tokens = tokens_of(text)
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or self.max_model_len
        if isinstance(fault, LengthCut):
            limit = len(tokens) // 2
        if len(tokens) > limit:
            return "".join(tokens[:limit]), "length"
        return text, "stop"

    def _completion(
        self,
        body: dict[str, Any],
        text: str | None,
        finish: str,
        request: Request,
        fault: Fault | None,
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if isinstance(fault, Refusal):
            message["refusal"] = fault.text
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": finish}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [_logprob(token) for token in tokens_of(text or "")]}
        return {
            "id": f"chatcmpl-{len(self.requests)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [choice],
            "usage": _usage(request),
        }

    async def _streamed(
        self,
        http: web.Request,
        body: dict[str, Any],
        text: str,
        finish: str,
        request: Request,
        first: asyncio.Event,
        done: asyncio.Event,
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(http)
        tokens = tokens_of(text)

        async def send(delta: dict[str, Any], reason: str | None = None, **more: Any) -> None:
            chunk = {
                "object": "chat.completion.chunk",
                "model": body["model"],
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
                **more,
            }
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

        await first.wait()
        sent = 0
        while True:
            ready = len(tokens) if done.is_set() else min(request.decoded, len(tokens))
            if ready > sent:
                await send({"content": "".join(tokens[sent:ready])})
                sent = ready
            if done.is_set():
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 0.002)
        await send({}, finish, usage=_usage(request))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _in_pieces(
        self, http: web.Request, content: bytes, fault: SlowBody | HangingBody
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        response.content_length = len(content)
        await response.prepare(http)
        if isinstance(fault, HangingBody):
            await response.write(content[: len(content) // 2])
            await asyncio.sleep(fault.seconds)
            self._abort(http)
            return response
        size = -(-len(content) // fault.pieces)
        for start in range(0, len(content), size):
            await response.write(content[start : start + size])
            await asyncio.sleep(fault.pause_s)
        return response

    @staticmethod
    def _abort(http: web.Request) -> None:
        if http.transport is not None:
            http.transport.abort()

    # --- what a server says of itself -----------------------------------------------------------

    async def _models(self, http: web.Request) -> web.Response:
        rows = [
            {"id": name, "object": "model", "max_model_len": self.max_model_len}
            for name in self.models
        ]
        return web.json_response({"object": "list", "data": rows})

    async def _metrics(self, http: web.Request) -> web.Response:
        if not self.metrics:
            return web.Response(status=404)
        engine = self._engine
        label = f'{{engine="0",model_name="{self.models[0]}"}}'
        rows = {
            # As vLLM counts: when the scheduler has placed what it could.
            "vllm:num_requests_running": engine.placed[0],
            "vllm:num_requests_waiting": engine.placed[1],
            "vllm:kv_cache_usage_perc": engine.cache_usage,
            "vllm:prefix_cache_queries_total": engine.queried_tokens,
            "vllm:prefix_cache_hits_total": engine.hit_tokens,
        }
        text = "".join(f"{name}{label} {float(value)}\n" for name, value in rows.items())
        return web.Response(text=text)

    async def _health(self, http: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, http: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0+stub"})

    async def _report(self, http: web.Request) -> web.Response:
        """What was asked of the machine since the last look; `?forget=1` empties its cache."""
        said = self.report()
        self.requests.clear()
        self.busy_s = 0.0
        self.most_running = 0
        if "forget" in http.query:
            self._engine = Engine(self.speed)
        return web.json_response(said)

    def report(self) -> dict[str, Any]:
        """What was asked of the machine."""
        return {
            "requests": len(self.requests),
            "busy_s": self.busy_s,
            "most_running": self.most_running,
            "prompt_tokens": self._engine.queried_tokens,
            "cached_tokens": self._engine.hit_tokens,
            "speed": asdict(self.speed),
        }


def prompt_of(body: dict[str, Any]) -> str:
    """The text that a chat template makes of a request's messages."""
    said = "".join(f"<|{m['role']}|>\n{m['content']}<|end|>\n" for m in body["messages"])
    return f"{said}<|assistant|>\n"


def _usage(request: Request) -> dict[str, Any]:
    return {
        "prompt_tokens": request.prompt_tokens,
        "completion_tokens": request.output_tokens,
        "total_tokens": request.prompt_tokens + request.output_tokens,
        "prompt_tokens_details": {"cached_tokens": request.cached_tokens},
    }


def _logprob(token: str) -> dict[str, Any]:
    # Not a model's, but the same for the same token, which is all that a comparison needs.
    return {"token": token, "logprob": -len(token) / 16, "top_logprobs": []}


def _problem(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A stub of vLLM's OpenAI server.")
    parser.add_argument("--port", type=int, default=8_100)
    parser.add_argument("--prefill", type=float, default=Speed.prefill_tokens_s)
    parser.add_argument("--decode", type=float, default=Speed.decode_tokens_s)
    parser.add_argument("--max-num-seqs", type=int, default=Speed.max_num_seqs)
    parser.add_argument("--step", type=float, default=Speed.step_s)
    parser.add_argument("--cache-blocks", type=int, default=Speed.cache_blocks)
    parser.add_argument("--block-tokens", type=int, default=Speed.block_tokens)
    given = parser.parse_args()
    speed = Speed(
        prefill_tokens_s=given.prefill,
        decode_tokens_s=given.decode,
        step_s=given.step,
        max_num_seqs=given.max_num_seqs,
        cache_blocks=given.cache_blocks,
        block_tokens=given.block_tokens,
    )
    with StubServer(speed, port=given.port) as server:
        print(f"serving {MODEL!r} at {server.url}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
