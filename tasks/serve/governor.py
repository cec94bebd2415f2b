"""What a server does with the calls it has -> how many it should have."""

import re
from dataclasses import dataclass, field

GROWTH = 1.5
DOUBLE = 2.0
"""Growth while the server lets no call wait: it says so itself, and a ramp leaves it idle."""
GAIN = 1.05
"""More calls in flight must finish so much more work a second to have been worth it."""
HELD_WINDOWS = 8
"""Measured windows at one limit before a larger one is tried again."""
BACKLOG = 8
"""One waiting call for so many running ones: the server never starves, and queues little."""
LEAST_WINDOW_S = 0.25
FORGET = 0.9
"""What a peak of running requests still counts at the next look."""
FRESH = 0.9
"""Share of the calls that were sent which the server's own count has, if it is of now."""
CERTAIN = 2
"""Looks in a row at which too many waited before the limit is lowered."""
LOOK_SOON_S, LOOK_S = 0.01, 0.25
"""Seconds between two looks: while the limit is being found, and when it is."""
_GAUGE = re.compile(r"^vllm:num_requests_(running|waiting)(?:\{[^}]*\})?\s+(\S+)", re.MULTILINE)


@dataclass
class Governor:
    """How many calls may be on their way to one server at a time.

    A vLLM server says in `/metrics` how many requests it runs and how many wait: the limit is what
    it runs and a little more. Where it doesn't say, the limit grows while that makes more work a
    second, as TCP grows its window (additive increase, multiplicative decrease; Jacobson, 1988),
    and halves when the server pushes back.

    Args:
        limit: to begin with.
        cap: never more than this.
        fixed: the limit is a setting and doesn't move.
    """

    limit: int
    cap: int
    fixed: bool = False
    look_in_s: float = field(default=LOOK_SOON_S, init=False)
    """Seconds until the server's count is worth asking for again."""
    _told: bool = field(default=False, init=False)
    _peak: float = field(default=0.0, init=False)
    _over: int = field(default=0, init=False)
    _full: bool = field(default=False, init=False)
    _work: float = field(default=0.0, init=False)
    _calls: int = field(default=0, init=False)
    _began: float | None = field(default=None, init=False)
    _rate: float | None = field(default=None, init=False)
    _before: int | None = field(default=None, init=False)
    _held: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.limit = max(1, min(self.limit, self.cap))

    def told(self, running: float, waiting: float, *, sent: int, wanted: bool) -> None:
        """The server's own count of its requests.

        Args:
            running: that are computed now.
            waiting: that found no place in its batch.
            sent: calls that are on their way from here.
            wanted: whether calls are held back here.
        """
        if self.fixed:
            return
        self._told = True
        if running + waiting < sent * FRESH:
            # vLLM counts between two steps, and on a processor a step takes seconds: this is the
            # count of before the last calls came. Growing on it would send all of them at once.
            self.look_in_s = min(2 * self.look_in_s, LOOK_S)
            return
        if not wanted:
            # What the server lacks now is not what it could take.
            self.look_in_s = LOOK_S
            return
        # Between two steps of a batch fewer run for a moment.
        rising = running > self._peak
        self._peak = max(running, self._peak * FORGET)
        backlog = max(2.0, self._peak / BACKLOG)
        if waiting > backlog:
            self._too_many(backlog, rising=rising)
            return
        self._over, before = 0, self.limit
        faster = GROWTH if waiting else DOUBLE
        self._set(self.limit + backlog if self._full else self.limit * faster + 1)
        # A server that runs a step in milliseconds starves before a slow look comes.
        growing = self.limit > before and not self._full
        self.look_in_s = LOOK_SOON_S if growing else LOOK_S

    def _too_many(self, backlog: float, *, rising: bool) -> None:
        """More wait than keep the server busy: it has its fill, or it is still placing them."""
        if rising and not self._full:
            # Long prompts are placed a few a step: those that wait are the batch's next ones.
            self._over = 0
        elif self.look_in_s < LOOK_S:
            # Two looks within one step see the same count.
            self.look_in_s = min(2 * self.look_in_s, LOOK_S)
        else:
            self._over += 1
            if self._over >= CERTAIN:
                self._full = True
                self._set(self._peak + backlog)

    def finished(self, work: float, *, now: float, wanted: bool) -> None:
        """A call was answered.

        Args:
            work: tokens that it took, or 1 for a call whose tokens nobody counted.
            now: monotonic seconds.
            wanted: whether calls are held back here; without them a larger limit changes nothing.
        """
        if self.fixed or self._told:
            return
        if self._began is None:
            self._began = now
            return
        self._work += work
        self._calls += 1
        span = now - self._began
        if self._calls < self.limit or span < LEAST_WINDOW_S:
            return
        rate = self._work / span
        self._work, self._calls, self._began = 0.0, 0, now
        if wanted:
            self._climb(rate)

    def pushed_back(self) -> None:
        """The server refused a call because it has too many."""
        if self.fixed:
            return
        self._before, self._rate, self._held = None, None, HELD_WINDOWS
        self._full = True
        self._set(self.limit / 2)

    def _climb(self, rate: float) -> None:
        if self._held:
            self._held -= 1
            self._rate = rate
            return
        better = self._rate is None or rate >= self._rate * GAIN
        if better:
            self._before = self.limit
            self._set(self.limit * GROWTH + 1)
        elif self._before is not None:
            self._set(self._before)
            self._before, self._held = None, HELD_WINDOWS
        else:
            # Nothing was tried in this window; try now.
            self._before = self.limit
            self._set(self.limit * GROWTH + 1)
        self._rate = rate

    def _set(self, limit: float) -> None:
        self.limit = max(1, min(int(limit), self.cap))


def gauges(metrics: str) -> tuple[float, float] | None:
    """Requests that vLLM runs and that wait, of all its engines; None where it isn't vLLM's text.

    Args:
        metrics: the text of `/metrics`, in Prometheus' format.
    """
    sums: dict[str, float] = {}
    for name, value in _GAUGE.findall(metrics):
        sums[name] = sums.get(name, 0.0) + float(value)
    return (sums["running"], sums["waiting"]) if len(sums) == 2 else None
