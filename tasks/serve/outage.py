"""A server that is gone -> whether it came back in time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0


class Outage:
    """Waits for a server that is gone; all calls that found it gone wait for the same thing.

    Args:
        returns: whether the server answers now.
        longest_s: how long it is waited for; 0: not at all.
    """

    def __init__(self, returns: Callable[[], Awaitable[bool]], longest_s: float) -> None:
        self._returns = returns
        self._longest_s = longest_s
        self._waiting: asyncio.Task[bool] | None = None

    @property
    def waits(self) -> bool:
        """Whether it is waited for at all."""
        return self._longest_s > 0

    @property
    def pending(self) -> bool:
        """Whether it is waited for now."""
        return self._waiting is not None

    async def over(self) -> bool:
        """Wait until the server answers; False when it didn't in time."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._wait())
            self._waiting.add_done_callback(self._forget)
        return await asyncio.shield(self._waiting)

    def _forget(self, _: "asyncio.Task[bool]") -> None:
        self._waiting = None

    async def _wait(self) -> bool:
        deadline = time.monotonic() + self._longest_s
        pause = FIRST_PAUSE_S
        while time.monotonic() < deadline:
            if await self._returns():
                return True
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        return False
