"""Prompts of two sides -> how long their answers take at a stated rate of requests.

The load is open: a request is sent when its time has come, whether earlier ones are answered or
not. A closed loop would wait for a slow server and so leave out what a user would have met (Tene,
"coordinated omission").
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tasks.config import Settings
from tasks.errors import CorruptArtifact

if TYPE_CHECKING:
    import numpy as np

    from tasks.serve.client import Message, ModelClient
    from tasks.serve.streamed import Streamed

PrefixCache = Literal["busted", "as_is"]
CONFIDENCE = 0.95
LATENCY_FILE = "latency.json"
"""Name of a probe's report beside the decision that it was made for."""
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of the schedule."""

    at_s: float
    side: str
    prompt: int
    """Which of the side's prompts."""


class Quantile(Settings):
    """One quantile of observed times, in seconds, with an interval that assumes no distribution."""

    q: float
    value: float
    low: float | None
    """Ends of the interval are order statistics; None: there are too few requests to bound it."""
    high: float | None


class SideLatency(Settings):
    """What one side's answers took."""

    requests: int
    failures: int
    input_tokens: int
    cached_tokens: int
    """Of the prompts' tokens, those that the server's prefix cache held."""
    first_token_s: tuple[Quantile, ...]
    per_token_s: tuple[Quantile, ...]
    """Seconds a token after the first."""
    total_s: tuple[Quantile, ...]


class LatencyReport(Settings):
    """A probe: how it was made, and what it found."""

    rate: float
    """Requests a second of all sides together; Poisson arrivals."""
    seed: int
    prefix_cache: PrefixCache
    """`busted`: no prompt begins like another; `as_is`: they share what they share."""
    confidence: float
    prompts: int
    """Different ones of a side; later requests begin again with the first."""
    late_s: float
    """The most that a request was sent after its time: the probe's own machine was busy."""
    sides: dict[str, SideLatency]


def read_latency(path: Path) -> LatencyReport:
    """Read a stored report.

    Raises:
        CorruptArtifact: it isn't one.
    """
    try:
        return LatencyReport.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptArtifact(
            f"The latency report {str(path)!r} can't be read: {error}.",
            next_step=f"Remove it; the decision doesn't rest on it: rm {path}",
        ) from error


def schedule(
    sides: Sequence[str], *, rate: float, requests: int, prompts: int, seed: int
) -> tuple[Arrival, ...]:
    """Poisson arrivals in which the sides take turns in random order.

    Args:
        sides: names; each gets every prompt as often, close to the other's.
        rate: requests a second of all sides together.
        requests: of each side.
        prompts: how many each side has.
        seed: of the times and of the order.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    times = np.cumsum(random.exponential(1 / rate, size=requests * len(sides)))
    order = [
        (sides[side], number % prompts)
        for number in range(requests)
        for side in random.permutation(len(sides))
    ]
    return tuple(
        Arrival(float(at), side, prompt) for at, (side, prompt) in zip(times, order, strict=True)
    )


async def probe(
    doors: Mapping[str, "ModelClient"],
    prompts: Mapping[str, Sequence[Sequence["Message"]]],
    *,
    rate: float,
    requests: int,
    seed: int,
    prefix_cache: PrefixCache,
    progress: Callable[[int, int], None] | None = None,
) -> LatencyReport:
    """Send every request at its time and wait for all answers.

    Args:
        doors: of each side; both may have the same one.
        prompts: of each side, equally many.
        rate: requests a second of all sides together.
        requests: of each side.
        seed: of the schedule.
        prefix_cache: whether each prompt gets a first line of its own.
        progress: told how many of all requests were answered.

    Raises:
        BudgetSpent: before or in the middle.
    """
    from tasks.serve.together import together

    loop = asyncio.get_running_loop()
    count = min(len(each) for each in prompts.values())
    arrivals = schedule(list(doors), rate=rate, requests=requests, prompts=count, seed=seed)
    began, late, done = loop.time(), 0.0, 0

    async def one(number: int, arrival: Arrival) -> "Streamed":
        nonlocal late, done
        await asyncio.sleep(max(0.0, began + arrival.at_s - loop.time()))
        late = max(late, loop.time() - began - arrival.at_s)
        messages = list(prompts[arrival.side][arrival.prompt])
        if prefix_cache == "busted":
            mark = f"[{seed}-{number}]\n"
            messages[0] = messages[0] | {"content": mark + messages[0]["content"]}
        said = await doors[arrival.side].time_stream(messages, purpose="latency")
        done += 1
        if progress is not None:
            progress(done, len(arrivals))
        return said

    answers = await together([one(number, each) for number, each in enumerate(arrivals)])
    return LatencyReport(
        rate=rate,
        seed=seed,
        prefix_cache=prefix_cache,
        confidence=CONFIDENCE,
        prompts=count,
        late_s=late,
        sides={
            side: summary([a for a, of in zip(answers, arrivals, strict=True) if of.side == side])
            for side in doors
        },
    )


def summary(answers: Sequence["Streamed"]) -> SideLatency:
    """Quantiles of one side's answers; failures are counted and have no time."""
    good = [each for each in answers if each.error is None]
    return SideLatency(
        requests=len(answers),
        failures=len(answers) - len(good),
        input_tokens=sum(each.usage.input_tokens or 0 for each in good),
        cached_tokens=sum(each.usage.cached_tokens or 0 for each in good),
        first_token_s=quantiles([x.first_token_s for x in good if x.first_token_s is not None]),
        per_token_s=quantiles([x.per_token_s for x in good if x.per_token_s is not None]),
        total_s=quantiles([each.total_s for each in good]),
    )


def quantiles(values: "Sequence[float] | np.ndarray") -> tuple[Quantile, ...]:
    """Median, 95 % and 99 % of some times, with intervals; nothing of no times.

    The interval between two order statistics holds the quantile with at least the confidence,
    whatever the distribution (binomial; Conover, Practical Nonparametric Statistics, 3.2).
    """
    import numpy as np

    if len(values) == 0:
        return ()
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return tuple(_quantile(ordered, q) for q in QUANTILES)


def _quantile(ordered: "np.ndarray", q: float) -> Quantile:
    import numpy as np
    from scipy.stats import binom

    tail = (1 - CONFIDENCE) / 2
    # Ranks from 1: P(x_low <= quantile <= x_high) = P(low <= Binomial(n, q) < high).
    low = int(binom.ppf(tail, len(ordered), q))
    high = int(binom.ppf(1 - tail, len(ordered), q)) + 1
    return Quantile(
        q=q,
        value=float(np.quantile(ordered, q, method="inverted_cdf")),
        low=float(ordered[low - 1]) if low >= 1 else None,
        high=float(ordered[high - 1]) if high <= len(ordered) else None,
    )
