"""Every model call -> one record, and records -> what each purpose has spent."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.config import Price

MILLION = 1_000_000
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer as the server counted them; None where it didn't say."""

    input_tokens: int | None
    cached_tokens: int | None
    """Part of `input_tokens` that the server's prefix cache already held."""
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call as the caller sees it: however many attempts it took, it is one row."""

    purpose: str
    model: str
    attempts: int
    """Requests that were sent; 0 for a cache hit."""
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    latency_s: float | None
    """Seconds of the attempt that was answered, without waiting for a free slot. For a cache hit,
    the seconds when the answer was made; None when no attempt was answered."""
    cost: float | None
    """In the price's currency. For a cache hit, what the answer cost when it was made: nothing is
    spent again. None when the server didn't count tokens and the price needs them."""
    cache_hit: bool
    error: str | None
    machine_s: float | None = None
    """Seconds of the machine that this call used alone; None where no machine is paid by the hour,
    and for a cache hit."""


@dataclass(frozen=True, slots=True)
class PurposeTotals:
    """What one purpose has used. Sums leave out what nobody knows; `unknown` counts those calls."""

    calls: int
    cache_hits: int
    failures: int
    attempts: int
    input_tokens: int
    """Tokens and `spent` are of calls that went to the server in this run."""
    cached_tokens: int
    output_tokens: int
    spent: float
    nominal: float
    """Cost of all calls as if no call had been cached: what a first run costs."""
    machine_s: float | None
    """Seconds of a machine that is paid by the hour; None: no call used one."""
    unknown: int
    """Answered calls of this run whose tokens or cost the server didn't let us know."""


@dataclass(slots=True)
class Meter:
    """Collects the records of one client."""

    records: list[CallRecord] = field(default_factory=list)

    def add(self, record: CallRecord) -> None:
        """Keep one record."""
        self.records.append(record)

    def totals(self) -> dict[str, PurposeTotals]:
        """Sums by purpose, in alphabetical order."""
        return {
            purpose: _total([record for record in self.records if record.purpose == purpose])
            for purpose in sorted({record.purpose for record in self.records})
        }


def _total(records: list[CallRecord]) -> PurposeTotals:
    sent = [record for record in records if not record.cache_hit]
    seconds = [record.machine_s for record in sent if record.machine_s is not None]
    return PurposeTotals(
        calls=len(records),
        cache_hits=len(records) - len(sent),
        failures=sum(record.error is not None for record in records),
        attempts=sum(record.attempts for record in records),
        input_tokens=sum(record.input_tokens or 0 for record in sent),
        cached_tokens=sum(record.cached_tokens or 0 for record in sent),
        output_tokens=sum(record.output_tokens or 0 for record in sent),
        spent=sum(record.cost or 0.0 for record in sent),
        nominal=sum(record.cost or 0.0 for record in records),
        machine_s=sum(seconds) if seconds else None,
        unknown=sum(
            record.error is None
            and None in (record.input_tokens, record.output_tokens, record.cost)
            for record in sent
        ),
    )


def call_cost(price: Price, usage: Usage, machine_s: float) -> float | None:
    """Cost of one call in the price's currency; None when tokens are priced but not known.

    Cached tokens cost the input price where the price names none of their own, and tokens that
    the server doesn't report as cached are priced as fresh: the result is never too low.

    Args:
        price: per million tokens, or per hour of the machine.
        usage: tokens of the call.
        machine_s: seconds of the machine that this call used alone (see `FairShare`).
    """
    if price.machine_hour is not None:
        return machine_s / SECONDS_PER_HOUR * price.machine_hour
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    fresh_price = price.input_per_million or 0.0
    cached_price = (
        fresh_price if price.cached_input_per_million is None else price.cached_input_per_million
    )
    cached = usage.cached_tokens or 0
    return (
        (usage.input_tokens - cached) * fresh_price
        + cached * cached_price
        + usage.output_tokens * (price.output_per_million or 0.0)
    ) / MILLION


class FairShare:
    """Splits the machine's busy seconds among the requests that are in flight.

    Processor sharing: while n requests are in flight, each pays 1/n of every second, so that the
    shares of all requests add up to the seconds in which the machine was busy. A clock of shares
    that runs at 1/n of real time makes that one subtraction a request.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_flight = 0
        self._share_s = 0.0
        self._last = clock()

    def _advance(self) -> float:
        now = self._clock()
        if self._in_flight:
            self._share_s += (now - self._last) / self._in_flight
        self._last = now
        return self._share_s

    @contextmanager
    def request(self) -> Iterator[Callable[[], float]]:
        """Count a request as in flight; the function it gives returns its share in seconds."""
        start = self._advance()
        end: float | None = None
        self._in_flight += 1
        try:
            yield lambda: (self._advance() if end is None else end) - start
        finally:
            end = self._advance()
            self._in_flight -= 1
