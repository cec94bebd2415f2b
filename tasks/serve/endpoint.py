"""One server of a model -> how much it has, what it did, and whether it is there."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tasks.serve.governor import Governor
from tasks.serve.meter import FairShare, Usage

PREFIX_CHARACTERS = 1_024
"""By which calls that belong to no case are told apart; a few blocks of a prefix cache."""
Asked = Callable[[], Awaitable[tuple[float, float] | None]]
"""Requests that the server runs and that wait; None when it doesn't say."""


@dataclass(frozen=True, slots=True)
class EndpointTotals:
    """What one server did, of the calls of all sides that share it."""

    answered: int
    failures: int
    """Attempts that it didn't answer."""
    spilled: int
    """Answered calls whose prefix belongs to another server, which was full or gone."""
    outages: int
    most_in_flight: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(eq=False)
class Endpoint:
    """One server: its own limit, its own machine, its own prefix cache.

    Args:
        url: up to `/v1`.
        governor: how many calls it gets at a time.
        ask: its own count of its requests; None: it has none.
    """

    url: str
    governor: Governor
    ask: Asked | None = None
    share: FairShare = field(default_factory=FairShare)
    away: bool = False
    in_flight: int = 0
    most_in_flight: int = 0
    answered: int = 0
    failures: int = 0
    spilled: int = 0
    outages: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def has_room(self) -> bool:
        """Whether it is there and takes another call."""
        return not self.away and self.in_flight < self.governor.limit

    @property
    def load(self) -> float:
        """Calls that it has, as a share of what it takes."""
        return self.in_flight / self.governor.limit

    def count(self, usage: Usage) -> None:
        """Count an answer."""
        self.answered += 1
        self.input_tokens += usage.input_tokens or 0
        self.cached_tokens += usage.cached_tokens or 0
        self.output_tokens += usage.output_tokens or 0

    def totals(self) -> EndpointTotals:
        """What it did so far."""
        return EndpointTotals(
            answered=self.answered,
            failures=self.failures,
            spilled=self.spilled,
            outages=self.outages,
            most_in_flight=self.most_in_flight,
            input_tokens=self.input_tokens,
            cached_tokens=self.cached_tokens,
            output_tokens=self.output_tokens,
        )


def prefix_key(position: int | None, prompt: str) -> str:
    """What calls have in common that share a server's prefix cache.

    Args:
        position: of the call's case, whose passages its calls share; None: of no case.
        prompt: its text.
    """
    return prompt[:PREFIX_CHARACTERS] if position is None else f"case {position}"


def preferred(key: str, endpoints: Sequence[Endpoint]) -> Endpoint:
    """The server of a prefix, by rendezvous hashing (Thaler and Ravishankar, 1998).

    When a server goes, only its own prefixes move, and when it is back they return.
    """
    if len(endpoints) == 1:
        return endpoints[0]

    def weight(endpoint: Endpoint) -> bytes:
        return hashlib.blake2b(f"{endpoint.url}\n{key}".encode(), digest_size=8).digest()

    return max(endpoints, key=weight)
