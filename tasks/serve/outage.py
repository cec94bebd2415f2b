"""A server that is gone -> it is looked for until it is back, or until all are gone too long."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from tasks.serve.endpoint import Endpoint
from tasks.serve.stream import Stream

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0


class Outages:
    """Watches servers that are gone. Calls go to the others, or wait where there is no other.

    Args:
        stream: gives calls to the servers that are there.
        returns: whether the server at a URL answers now.
        longest_s: how long calls wait while no server is there; 0: not at all.
        gave_up: called once when none came back in that time.
    """

    def __init__(
        self,
        stream: Stream,
        returns: Callable[[str], Awaitable[bool]],
        longest_s: float,
        gave_up: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._returns = returns
        self._longest_s = longest_s
        self._gave_up = gave_up
        self._watching: dict[Endpoint, asyncio.Task[None]] = {}
        self._none_since: float | None = None

    def lost(self, endpoint: Endpoint) -> bool:
        """A server broke a connection or refused one.

        Returns:
            Whether its call can go on: to another server, or to this one when it is back.
        """
        if not endpoint.away:
            others = any(each is not endpoint for each in self._stream.present)
            if not others and not self._longest_s:
                return False
            if not others:
                self._none_since = time.monotonic()
            self._stream.lost(endpoint)
            self._watching[endpoint] = asyncio.create_task(self._watch(endpoint))
        return True

    async def aclose(self) -> None:
        """Look no more."""
        for watching in self._watching.values():
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        self._watching.clear()

    async def _watch(self, endpoint: Endpoint) -> None:
        pause = FIRST_PAUSE_S
        while not await self._returns(endpoint.url):
            since = self._none_since
            if since is not None and time.monotonic() - since >= self._longest_s:
                self._gave_up()
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        self._none_since = None
        self._stream.back(endpoint)
