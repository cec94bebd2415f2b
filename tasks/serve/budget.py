"""What calls cost -> whether another one may be paid for."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock

from tasks.errors import BudgetSpent
from tasks.store import locked, write_json

KEPT_EVERY = 0.01
"""Share of a limit that may be spent before it is written down."""


@dataclass
class Budget:
    """Limits on money, checked before every call.

    What calls in flight will cost isn't known before they end, so a limit is passed by at most
    their cost.

    Args:
        path: where the month's sum is kept, for all runs together.
        run: the most for this run; None: no limit.
        month: the most for a calendar month (UTC); None: no limit.
        currency: of the prices.
    """

    path: Path
    run: float | None
    month: float | None
    currency: str
    spent: float = field(default=0.0, init=False)
    _lock: RLock = field(default_factory=RLock, init=False, repr=False, compare=False)
    _unsaved: float = field(default=0.0, init=False)
    _before: float | None = field(default=None, init=False)
    _before_in: str = field(default="", init=False)

    def check(self, purpose: str) -> None:
        """Refuse the next call when a limit is reached.

        Raises:
            BudgetSpent: it is; says which.
        """
        if self.run is not None and self.spent >= self.run:
            raise self._over("of this run", self.run, self.spent, "budget.run", purpose)
        if self.month is not None:
            # What answers for months mustn't take last month's sum for this one's.
            if self._before is None or self._before_in != _month():
                self._before, self._before_in = self._read(), _month()
            if (spent := self._before + self._unsaved) >= self.month:
                raise self._over("of this month", self.month, spent, "budget.month", purpose)

    def add(self, cost: float | None) -> None:
        """Count what a call cost; an unknown cost is none that could be added."""
        if not cost:
            return
        # A served embedding model is asked in a thread of its own.
        with self._lock:
            self.spent += cost
            self._unsaved += cost
            limits = [limit for limit in (self.run, self.month) if limit]
            # Without a limit the sum is written once, at the end: each time is a lock and two
            # fsyncs.
            if limits and self._unsaved >= KEPT_EVERY * min(limits):
                self.save()

    def save(self) -> None:
        """Write this run's share of the month down."""
        if not self._unsaved:
            return
        with self._lock, locked(self.path.with_suffix(".lock")):
            sums = self._sums()
            self._before, self._before_in = sums.get(self.currency, 0.0) + self._unsaved, _month()
            self._unsaved = 0.0
            write_json(self.path, {_month(): sums | {self.currency: self._before}})

    def _read(self) -> float:
        return self._sums().get(self.currency, 0.0)

    def _sums(self) -> dict[str, float]:
        """This month's sums by currency."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return dict(kept.get(_month(), {}))

    def _over(
        self, what: str, limit: float, spent: float, setting: str, purpose: str
    ) -> BudgetSpent:
        return BudgetSpent(
            f"The budget {what} is spent: {spent:g} of {limit:g} {self.currency}; no call for "
            f"{purpose!r} is sent.",
            next_step=f"Raise {setting} in configs/evaluate.yaml and repeat the run: answers made "
            "so far are cached.",
        )


class Budgets:
    """The budgets of one run: all of its doors pay from the one of their currency."""

    def __init__(self) -> None:
        self._found: dict[str, Budget] = {}

    @property
    def spent(self) -> dict[str, float]:
        """What the run has spent so far, by currency; none where nothing was."""
        return {name: each.spent for name, each in self._found.items() if each.spent}

    def of(self, path: Path, *, run: float | None, month: float | None, currency: str) -> Budget:
        """The budget of a currency; see `Budget`. What was found first stays."""
        made = Budget(path, run=run, month=month, currency=currency)
        return self._found.setdefault(currency, made)


def _month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")
