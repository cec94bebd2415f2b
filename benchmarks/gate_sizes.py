"""E2: 20,000 nights without any gain through every test of the gate, in every design."""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from benchmarks.batched import better, not_worse
from benchmarks.harness import Result, save, show, versions
from benchmarks.simulate import ICCS, KINDS, SIZES, Design, simulate

NIGHTS = 20_000
RESAMPLES = 10_000
"""Of a sign flip, a policy's default. The gate's seed is fixed, so all nights see the same signs.
With few of them a size is off by chance, the same way every night: 999 of them, 20 cases: .0513."""
BOUND_RESAMPLES = 999
ALPHA = 0.05
LARGEST = 0.0546
"""Nominal .05 and three standard errors of 20,000 nights."""

_AT_ONCE = 2_000


def designs() -> Iterator[Design]:
    """Every kind of score, number of cases and relation of cases."""
    for kind in KINDS:
        for n in SIZES:
            for icc in ICCS:
                yield Design(kind, n, icc)


def margin_of(design: Design) -> float:
    """A guardrail's margin: 5 % of what a case can lose, or what so few clusters can show at all.

    Without a single loss Gaffke's bound is (1 - margin / width)^C; a quarter more leaves room for
    some losses.
    """
    smallest: float = 1 - ALPHA ** (1 / len(np.unique(design.cluster)))
    return design.width * max(0.05, float(1.25 * smallest))


def tolerance(nights: int) -> float:
    """Largest share of rejections that a simulation of this size may find."""
    return LARGEST + (0.0 if nights >= NIGHTS else 2 * sqrt(ALPHA * (1 - ALPHA) / nights))


def size_of_superiority(
    design: Design, nights: int, *, resamples: int = RESAMPLES, seed: int = 1
) -> float:
    """Share of challengers that are exactly as good and pass as better."""
    passed = 0
    for number, count in enumerate(_parts(nights)):
        batch = simulate(design, count, effect=0.0, seed=1000 * seed + number)
        passed += int(np.sum(better(batch, resamples=resamples) <= ALPHA))
    return passed / nights


def size_of_guardrail(design: Design, nights: int, *, seed: int = 2) -> float:
    """Share of challengers that are worse by exactly the margin and pass as not worse."""
    margin, passed = margin_of(design), 0
    for number, count in enumerate(_parts(nights)):
        batch = simulate(design, count, effect=-margin, seed=1000 * seed + number)
        p_values = not_worse(batch, margin=margin, resamples=BOUND_RESAMPLES)
        passed += int(np.sum(p_values <= ALPHA))
    return passed / nights


def main() -> bool:
    """Run all designs in full; whether every size is within its level."""
    sizes = {
        str(design): {
            "superiority": size_of_superiority(design, NIGHTS),
            "guardrail": size_of_guardrail(design, NIGHTS),
        }
        for design in designs()
    }
    largest = max(max(row.values()) for row in sizes.values())
    result = Result(
        id="E2",
        work=f"share of {NIGHTS:,} nights that a test lets pass although its bad hypothesis holds, "
        f"at a level of {ALPHA:g}",
        own=sizes,
        peers={},
        limit={"nominal": ALPHA},
        ratios={"largest / nominal": largest / ALPHA},
        goal=f"at most {LARGEST:g} in every design",
        met=largest <= LARGEST,
        versions=versions("numpy", "scipy"),
    )
    show(
        result,
        [
            {
                "design": name,
                "better (McNemar, sign flip)": f"{row['superiority']:.4f}",
                "not worse (Gaffke)": f"{row['guardrail']:.4f}",
            }
            for name, row in sizes.items()
        ],
    )
    save(result)
    return result.met


def _parts(nights: int) -> list[int]:
    full, rest = divmod(nights, _AT_ONCE)
    return [_AT_ONCE] * full + ([rest] if rest else [])
