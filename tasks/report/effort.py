"""Eval logs -> what the answers took: latency, tokens, money by purpose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.evaluate.log import CostRow, EvalLog


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds that answers took, over all answered cases."""

    n: int
    p50: float
    p95: float
    greatest: float


@dataclass(frozen=True, slots=True)
class Spending:
    """One purpose of calls on both sides; None where a side made none."""

    purpose: str
    old: "CostRow | None"
    new: "CostRow | None"


def latency(log: "EvalLog | None") -> Latency | None:
    """Percentiles of the answers' latency; None when nothing was answered."""
    import numpy as np

    values = [r.answer.latency_s for r in log.results if r.answer] if log else []
    if not values:
        return None
    middle, high = (float(x) for x in np.percentile(values, [50, 95]))
    return Latency(n=len(values), p50=middle, p95=high, greatest=max(values))


def spending(champion: "EvalLog | None", challenger: "EvalLog") -> tuple[Spending, ...]:
    """Calls and money by purpose, in alphabetical order."""
    old = champion.manifest.costs if champion else {}
    new = challenger.manifest.costs
    return tuple(
        Spending(purpose, old.get(purpose), new.get(purpose)) for purpose in sorted({*old, *new})
    )


def machine_s(rows: Sequence["CostRow | None"]) -> float | None:
    """Seconds of machines that are paid by the hour; None where no row used one."""
    used = [row.machine_s for row in rows if row is not None and row.machine_s is not None]
    return sum(used) if used else None


def total(rows: Sequence["CostRow | None"]) -> float:
    """Money of all given rows."""
    return sum(row.cost for row in rows if row is not None)
