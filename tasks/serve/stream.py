"""Calls that could be made now -> the order and the number in which a server gets them."""

import asyncio
import contextlib
import heapq
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tasks.serve.governor import Governor
from tasks.serve.label import CallLabel

ASK_EVERY_S = 0.25
Asked = Callable[[], Awaitable[tuple[float, float] | None]]
"""Requests that the server runs and that wait; None when it doesn't say."""

_Order = tuple[int, int, str, int]


class Stream:
    """Lets calls through to one server: the next one is the one that fits best, not the oldest.

    Calls of the case that comes first in the suite go first, so that those that share its passages
    meet in the server's prefix cache, both sides of a comparison are asked in the same minute, and
    a call that waited for another one's answer overtakes the cases behind it. Within a case, calls
    with the same beginning are neighbours.

    Args:
        governor: how many at a time.
        ask: the server's own count, asked while calls are on their way; None: it has none.
    """

    def __init__(self, governor: Governor, ask: Asked | None = None) -> None:
        self.governor = governor
        self.in_flight = 0
        self.most_in_flight = 0
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._waiting: list[tuple[_Order, asyncio.Future[None]]] = []
        self._arrived = 0
        self._admitting = False

    @property
    def waiting(self) -> int:
        """Calls that are held back."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, label: CallLabel, prompt: str) -> AsyncIterator[None]:
        """Wait for a place and hold it.

        Args:
            label: which case the call belongs to, and how many calls it waited for.
            prompt: its text; only the order of two texts matters.
        """
        self._arrived += 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        order = (label.position, -label.depth, prompt, self._arrived)
        heapq.heappush(self._waiting, (order, turn))
        # Calls that become possible at the same time are put in order before the first one leaves.
        if not self._admitting:
            self._admitting = True
            asyncio.get_running_loop().call_soon(self._admit_arrived)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise
        try:
            yield
        finally:
            self._leave()

    def finished(self, work: float) -> None:
        """Tell that a call was answered, and how many tokens it took."""
        self.governor.finished(work, now=time.monotonic(), wanted=bool(self._waiting))
        self._admit()

    async def aclose(self) -> None:
        """Ask the server no more."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking
            self._asking = None

    def _leave(self) -> None:
        self.in_flight -= 1
        self._admit()

    def _admit_arrived(self) -> None:
        self._admitting = False
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.in_flight < self.governor.limit:
            _, turn = heapq.heappop(self._waiting)
            if turn.done():
                continue
            turn.set_result(None)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self._waiting and self._ask is not None and self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._keep_asking(self._ask))

    async def _keep_asking(self, ask: Asked) -> None:
        while True:
            said = await ask()
            if said is None:
                # It never will: feedback alone decides from here.
                self._ask = None
                self._asking = None
                return
            self.governor.told(*said, sent=self.in_flight, wanted=bool(self._waiting))
            self._admit()
            await asyncio.sleep(ASK_EVERY_S)
            if not self.in_flight and not self._waiting:
                self._asking = None
                return
