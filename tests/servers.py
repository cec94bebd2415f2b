"""A real HTTP server that speaks the OpenAI API as far as Ratchet uses it, with faults on order."""

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Respond = Callable[[dict[str, Any]], str | None]
"""Request body -> text of the answer; None is an answer without content."""

Embed = Callable[[list[str]], list[list[float]]]
"""Texts -> one vector each."""


@dataclass(frozen=True)
class Status:
    """Refuse with an HTTP status."""

    code: int
    retry_after: str | None = None
    message: str = "refused by the test"


@dataclass(frozen=True)
class Hang:
    """Send nothing for so long."""

    seconds: float


@dataclass(frozen=True)
class Reset:
    """Reset the connection in the middle."""


@dataclass(frozen=True)
class Text:
    """Answer with this text, whatever was asked."""

    text: str | None
    finish_reason: str = "stop"


@dataclass(frozen=True)
class Raw:
    """Answer 200 with these bytes, whatever they are."""

    body: bytes


Fault = Status | Hang | Reset | Text | Raw


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OpenAIServer:
    """Serves `/v1/models`, `/v1/chat/completions` and, with `embed`, `/v1/embeddings`.

    On a free local port.

    `faults` are used up one a request, in order; afterwards `respond` answers. `requests` holds
    every body that arrived, `headers` the headers of each.
    """

    def __init__(
        self,
        respond: Respond = lambda body: f"answer to {body['messages'][-1]['content']}",
        *,
        models: tuple[str, ...] = ("tiny",),
        api_key: str | None = None,
        delay_s: float = 0.0,
        usage: bool = True,
        embed: Embed | None = None,
    ) -> None:
        self.respond = respond
        self.embed = embed
        self.models = models
        self.api_key = api_key
        self.delay_s = delay_s
        self.usage = usage
        self.faults: deque[Fault] = deque()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.port = 0

    @property
    def paths(self) -> set[str]:
        """What can be posted to."""
        return {"/v1/chat/completions"} | ({"/v1/embeddings"} if self.embed else set())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> Self:
        self.closing.clear()
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.double = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.01))
        self._thread.start()
        return self

    def stop(self) -> None:
        """Die like a killed process: connections break, the port refuses; `start` revives it."""
        self.closing.set()
        self._server.shutdown()
        self._server.break_connections()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.closing.is_set():
            self.stop()


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    # A client that opens more connections at once than the default of 5 would be refused some.
    request_queue_size = 128
    double: OpenAIServer

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that went away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            self._send(404, {"error": {"message": f"no {self.path}"}})
            return
        models = [{"id": name, "object": "model"} for name in self.server.double.models]
        self._send(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        double = self.server.double
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with double.lock:
            double.requests.append(body)
            double.headers.append({key.lower(): value for key, value in self.headers.items()})
            double.in_flight += 1
            double.most_in_flight = max(double.most_in_flight, double.in_flight)
            fault = double.faults.popleft() if double.faults else None
        try:
            self._answer(double, body, fault)
        finally:
            with double.lock:
                double.in_flight -= 1

    def _answer(self, double: OpenAIServer, body: dict[str, Any], fault: Fault | None) -> None:
        double.closing.wait(double.delay_s)
        if double.api_key and self.headers["authorization"] != f"Bearer {double.api_key}":
            sent = self.headers["authorization"]
            self._send(401, {"error": {"message": f"Incorrect API key provided: {sent}"}})
        elif self.path not in double.paths or body["model"] not in double.models:
            self._send(404, {"error": {"message": f"no model {body.get('model')!r}"}})
        elif isinstance(fault, Status):
            extra = {"retry-after": fault.retry_after} if fault.retry_after is not None else {}
            self._send(fault.code, {"error": {"message": fault.message}}, extra)
        elif isinstance(fault, Hang):
            double.closing.wait(fault.seconds)
            self.close_connection = True
        elif isinstance(fault, Reset):
            linger_zero = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
            self.rfile.close()
            self.wfile.close()
            self.connection.close()
            self.close_connection = True
        elif isinstance(fault, Raw):
            self._send_bytes(200, fault.body, {})
        elif self.path == "/v1/embeddings":
            self._send(200, self._vectors(double, body))
        elif isinstance(fault, Text):
            self._send(200, self._completion(double, body, fault.text, fault.finish_reason))
        else:
            self._send(200, self._completion(double, body, double.respond(body), "stop"))

    def _vectors(self, double: OpenAIServer, body: dict[str, Any]) -> dict[str, Any]:
        assert double.embed is not None
        rows = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(double.embed(body["input"]))
        ]
        answer = {"object": "list", "model": body["model"], "data": rows[::-1]}
        tokens = sum(len(text.split()) for text in body["input"])
        return answer | {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}

    def _completion(
        self, double: OpenAIServer, body: dict[str, Any], text: str | None, finish_reason: str
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish_reason,
                }
            ],
        }
        if double.usage:
            prompt = sum(len(message["content"].split()) for message in body["messages"])
            said = len((text or "").split())
            answer["usage"] = {
                "prompt_tokens": prompt,
                "completion_tokens": said,
                "total_tokens": prompt + said,
                "prompt_tokens_details": {"cached_tokens": prompt // 2},
            }
        return answer

    def _send(
        self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        self._send_bytes(status, json.dumps(content).encode(), headers or {})

    def _send_bytes(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
