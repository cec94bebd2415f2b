"""One HTTP request to a model server -> its answer, or why there is none."""

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from tasks.serve.meter import Usage

CONNECT_TIMEOUT_S = 10.0
EXCERPT = 300
CHAT, EMBEDDINGS = "/chat/completions", "/embeddings"
RETRIED_STATUS = frozenset({408, 429})


class AttemptFailed(Exception):
    """One attempt failed; the message is fit for a user."""

    def __init__(
        self,
        message: str,
        *,
        retry: bool,
        status: int | None,
        retry_after_s: float | None = None,
        gone: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry = retry
        self.status = status
        self.retry_after_s = retry_after_s
        self.gone = gone
        """Whether the connection broke or was refused: the server may be starting again."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer."""

    body: str
    usage: Usage
    latency_s: float


async def attempt(
    inner: httpx.AsyncBaseTransport, request: httpx.Request, *, timeout_s: float, secret: str | None
) -> Answered:
    """Send a request once and read the whole answer.

    Args:
        inner: what carries the request.
        request: a POST with a body that can be sent again.
        timeout_s: from sending the request to the last byte.
        secret: the API key; error texts don't show it, even where the server repeats it.

    Raises:
        AttemptFailed: there is no answer, or not the one of an OpenAI-compatible server.
    """
    # A library's own timeout must not undercut or outlast the configured one.
    request.extensions["timeout"] = httpx.Timeout(
        timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S), pool=None
    ).as_dict()
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            response = await inner.handle_async_request(request)
            try:
                content = await response.aread()
            finally:
                await response.aclose()
    except httpx.ConnectTimeout as error:
        raise AttemptFailed("no connection in time", retry=True, status=None) from error
    except (TimeoutError, httpx.TimeoutException) as error:
        raise AttemptFailed(f"no answer within {timeout_s:g} s", retry=True, status=None) from error
    except httpx.RequestError as error:
        reason = _redact(f"{type(error).__name__}: {error}".rstrip(": "), secret)
        raise AttemptFailed(
            f"the connection failed ({reason})", retry=True, status=None, gone=True
        ) from error
    latency_s = time.monotonic() - started
    if response.status_code >= httpx.codes.MULTIPLE_CHOICES:
        raise _refused(response, content, secret)
    answer = _json_object(content)
    if answer is None or not _is_expected(request.url.path, answer):
        raise AttemptFailed(
            "the answer isn't that of an OpenAI-compatible server: "
            + _redact(content.decode("utf-8", "replace"), secret)[:EXCERPT],
            retry=True,
            status=response.status_code,
        )
    return Answered(content.decode(), usage_of(answer), latency_s)


def _refused(response: httpx.Response, content: bytes, secret: str | None) -> AttemptFailed:
    status = response.status_code
    text = _redact(content.decode("utf-8", "replace"), secret)
    return AttemptFailed(
        f"status {status}: {text[:EXCERPT]}",
        retry=status >= httpx.codes.INTERNAL_SERVER_ERROR or status in RETRIED_STATUS,
        status=status,
        retry_after_s=_retry_after_s(response.headers.get("retry-after")),
    )


def _redact(text: str, secret: str | None) -> str:
    return text.replace(secret, "***") if secret else text


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(content)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _is_expected(path: str, answer: dict[str, Any]) -> bool:
    if path.endswith(CHAT):
        return _is_completion(answer)
    return not path.endswith(EMBEDDINGS) or _is_embedding(answer)


def _is_embedding(answer: dict[str, Any]) -> bool:
    rows = answer.get("data")
    return isinstance(rows, list) and all(
        isinstance(row, dict)
        and isinstance(row.get("index"), int)
        and isinstance(row.get("embedding"), list)
        for row in rows
    )


def _is_completion(answer: dict[str, Any]) -> bool:
    choices = answer.get("choices")
    return (
        isinstance(choices, list)
        and bool(choices)
        and isinstance(choices[0], dict)
        and isinstance(choices[0].get("message"), dict)
    )


def usage_of(answer: dict[str, Any]) -> Usage:
    """Token counts of an answer; None where the server gave none."""
    usage = answer.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    prompt, total = usage.get("prompt_tokens"), usage.get("total_tokens")
    # An answer of vectors has no tokens, and OpenAI's own server doesn't say that they are 0.
    written = 0 if prompt is not None and prompt == total else None
    return Usage(
        input_tokens=prompt,
        cached_tokens=details.get("cached_tokens"),
        output_tokens=usage.get("completion_tokens", written),
    )


def _retry_after_s(value: str | None) -> float | None:
    """Seconds to wait by RFC 9110, section 10.2.3: a number of seconds or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())
