"""One streamed chat request -> when its first and its last token came."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.serve.attempt import usage_of
from tasks.serve.meter import Usage


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one streamed answer took, in seconds from sending the request."""

    first_token_s: float | None
    """Until the first text; None when there was none."""
    total_s: float
    usage: Usage
    error: str | None = None

    @property
    def per_token_s(self) -> float | None:
        """Seconds of each token after the first; None with fewer than two tokens."""
        tokens = self.usage.output_tokens
        if self.first_token_s is None or tokens is None or tokens < 2:
            return None
        return (self.total_s - self.first_token_s) / (tokens - 1)


async def stream_once(
    url: str,
    body: dict[str, Any],
    *,
    headers: dict[str, str],
    timeout_s: float,
    socket: Path | None = None,
) -> Streamed:
    """Send a chat request that streams, over a connection of its own, and time it.

    Args:
        url: of chat completions.
        body: of the request; `stream` and the wish for token counts are added.
        headers: of the request.
        timeout_s: until the last token.
        socket: through which the server is reached, instead of a port.

    Returns:
        The times; a failure is one with an `error`, and never raises.
    """
    import aiohttp

    sent = body | {"stream": True, "stream_options": {"include_usage": True}}
    connector = aiohttp.UnixConnector(str(socket)) if socket else aiohttp.TCPConnector()
    first: float | None = None
    usage = Usage(None, None, None)
    error = None
    ended = False
    started = time.perf_counter()
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=timeout_s)
            ) as session,
            session.post(url, json=sent, headers=headers) as answer,
        ):
            if not answer.ok:
                error = f"status {answer.status}"
            async for line in answer.content:
                text = line.decode("utf-8", "replace").strip()
                if not text.startswith("data:"):
                    continue
                content = text.removeprefix("data:").strip()
                if content == "[DONE]":
                    ended = True
                    break
                chunk = json.loads(content)
                if chunk.get("usage"):
                    usage = usage_of(chunk)
                for choice in chunk.get("choices") or ():
                    if first is None and (choice.get("delta") or {}).get("content"):
                        first = time.perf_counter() - started
    except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as failure:
        error = f"{type(failure).__name__}: {failure}".rstrip(": ")
    if error is None and not ended:
        error = "the stream broke off"
    return Streamed(first, time.perf_counter() - started, usage, error)
