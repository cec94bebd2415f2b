"""Calls that could be made now -> the order, the number and the server in which they are made."""

import asyncio
import contextlib
import heapq
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tasks.serve.endpoint import Asked, Endpoint, preferred, prefix_key
from tasks.serve.label import CallLabel

_NOWHERE: frozenset[str] = frozenset()

_Order = tuple[int, int, str, int]


@dataclass(slots=True)
class _Waiting:
    """A call that is held back."""

    order: _Order
    turn: "asyncio.Future[Endpoint]"
    key: str
    avoided: frozenset[str]


_Queue = list[tuple[_Order, _Waiting]]
"""A heap; no two orders are equal, so that tuples are compared and never calls."""


class Stream:
    """Lets calls through to servers: the next one is the one that fits best, not the oldest.

    Calls of the case that comes first in the suite go first, so that those that share its passages
    meet in a server's prefix cache, both sides of a comparison are asked in the same minute, and
    a call that waited for another one's answer overtakes the cases behind it. Within a case, calls
    with the same beginning are neighbours.

    With several servers, calls that share a prefix wait for the same one. One that has room and
    nothing to do takes calls from the end of the longest queue: those whose prefix is computed
    nowhere yet.

    Args:
        endpoints: the servers; all of them answer alike.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self.most_in_flight = 0
        self._queues: dict[Endpoint, _Queue] = {each: [] for each in self.endpoints}
        self._asking: dict[Endpoint, asyncio.Task[None]] = {}
        self._silent: set[Endpoint] = set()
        self._arrived = 0
        self._ended = False
        self._admitting = False

    @property
    def waiting(self) -> int:
        """Calls that are held back."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def in_flight(self) -> int:
        """Calls that are on their way."""
        return sum(each.in_flight for each in self.endpoints)

    @property
    def present(self) -> list[Endpoint]:
        """Servers that aren't gone."""
        return [each for each in self.endpoints if not each.away]

    def others(self, avoided: frozenset[str]) -> list[Endpoint]:
        """Servers that are there and aren't among these."""
        return [each for each in self.present if each.url not in avoided]

    @asynccontextmanager
    async def turn(
        self, label: CallLabel, prompt: str, avoided: frozenset[str] = _NOWHERE
    ) -> AsyncIterator[Endpoint]:
        """Wait for a place at a server and hold it.

        Args:
            label: which case the call belongs to, and how many calls it waited for.
            prompt: its text; only its beginning and the order of two texts matter.
            avoided: URLs of servers that failed on this call; they get it when no other is there.
        """
        self._arrived += 1
        turn: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        order = (label.position or 0, -label.depth, prompt, self._arrived)
        self._queue(_Waiting(order, turn, prefix_key(label.position, prompt), avoided))
        # Calls that become possible at the same time are put in order before the first one leaves.
        if not self._admitting:
            self._admitting = True
            asyncio.get_running_loop().call_soon(self._admit_arrived)
        try:
            endpoint = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(turn.result())
            raise
        try:
            yield endpoint
        finally:
            self._leave(endpoint)

    def finished(self, endpoint: Endpoint, work: float) -> None:
        """Tell that a server answered a call, and how many tokens it took."""
        endpoint.governor.finished(work, now=time.monotonic(), wanted=bool(self.waiting))
        self._admit()

    def lost(self, endpoint: Endpoint) -> None:
        """A server is gone: what waits for it goes to the others, if there are any."""
        endpoint.away = True
        endpoint.outages += 1
        if self.present:
            self._queue_anew(endpoint)
            self._admit()

    def back(self, endpoint: Endpoint) -> None:
        """It is there again."""
        endpoint.away = False
        # Calls that waited for nobody in particular.
        for gone in self.endpoints:
            if gone.away:
                self._queue_anew(gone)
        self._admit()

    def end(self) -> None:
        """Hold no call back any more: they are told that no server is there."""
        self._ended = True
        self._admit()

    async def aclose(self) -> None:
        """Ask the servers no more."""
        for asking in self._asking.values():
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
        self._asking.clear()

    def _queue(self, waiting: _Waiting) -> None:
        candidates = self.others(waiting.avoided) or self.present or self.endpoints
        queue = self._queues[preferred(waiting.key, candidates)]
        heapq.heappush(queue, (waiting.order, waiting))

    def _queue_anew(self, endpoint: Endpoint) -> None:
        """Give the calls that wait for a server to whom they belong now."""
        moving, self._queues[endpoint] = self._queues[endpoint], []
        for _, waiting in moving:
            self._queue(waiting)

    def _leave(self, endpoint: Endpoint) -> None:
        endpoint.in_flight -= 1
        self._admit()

    def _admit_arrived(self) -> None:
        self._admitting = False
        self._admit()

    def _admit(self) -> None:
        for endpoint in self.endpoints:
            queue = self._queues[endpoint]
            while queue and (endpoint.has_room or self._ended):
                self._let(heapq.heappop(queue)[1], endpoint)
        while len(self.endpoints) > 1 and any(self._queues.values()):
            idle = sorted(
                (each for each in self.endpoints if each.has_room), key=lambda each: each.load
            )
            if not any(self._spill(endpoint) for endpoint in idle):
                break
        for endpoint in self.endpoints:
            self._ask(endpoint)

    def _let(self, waiting: _Waiting, endpoint: Endpoint) -> bool:
        if waiting.turn.done():
            return False
        waiting.turn.set_result(endpoint)
        endpoint.in_flight += 1
        endpoint.most_in_flight = max(endpoint.most_in_flight, endpoint.in_flight)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return True

    def _spill(self, endpoint: Endpoint) -> bool:
        """Give a server the last call of the longest queue that it may have; whether it got one."""
        for queue in sorted(self._queues.values(), key=len, reverse=True):
            allowed = [each for each in queue if endpoint.url not in each[1].avoided]
            if not allowed:
                continue
            last = max(allowed)
            queue.remove(last)
            heapq.heapify(queue)
            endpoint.spilled += self._let(last[1], endpoint)
            return True
        return False

    def _ask(self, endpoint: Endpoint) -> None:
        if endpoint.ask is None or endpoint in self._asking or endpoint in self._silent:
            return
        if self.waiting and not endpoint.away:
            self._asking[endpoint] = asyncio.get_running_loop().create_task(
                self._keep_asking(endpoint, endpoint.ask)
            )

    async def _keep_asking(self, endpoint: Endpoint, ask: Asked) -> None:
        while True:
            said = await ask()
            if said is None:
                if not endpoint.away:
                    # It never will: feedback alone decides from here.
                    self._silent.add(endpoint)
                del self._asking[endpoint]
                return
            endpoint.governor.told(*said, sent=endpoint.in_flight, wanted=bool(self.waiting))
            self._admit()
            await asyncio.sleep(endpoint.governor.look_in_s)
            if not endpoint.in_flight and not self.waiting:
                del self._asking[endpoint]
                return
