"""E1: the same simulated nights through every rule: what is promoted, and what should have been.

Three questions for each kind of score, number of cases and relation of cases: how often is a
challenger promoted that is no better; one that is better; and, for rules that only ask for "no
worse", one that is worse by exactly their margin. Writes docs/gate-error-rates.md and its plot.
"""

from collections.abc import Callable

import numpy as np
from rich.progress import track

from benchmarks import error_rates_page as page
from benchmarks.batched import better, not_worse
from benchmarks.chains import promoted_by
from benchmarks.gate_sizes import ALPHA, BOUND_RESAMPLES, LARGEST, RESAMPLES, designs
from benchmarks.harness import Result, save, show, versions
from benchmarks.peers import MARGIN, PEERS, Peer, on_unit_scale
from benchmarks.rules import mean_is_higher, one_standard_error
from benchmarks.simulate import Batch, Design, Kind, simulate
from tasks.gate.inference import Bools

NIGHTS, PEER_NIGHTS, CHAINS = 10_000, 400, 10_000
"""The packages take one night at a time: they see the first nights only."""

_AT_ONCE = 2_000

BETTER: dict[Kind, float] = {"binary": 0.10, "five levels": 0.22, "log ratio": 0.09}
"""True gains that a one-sided z-test at .05 finds with power .8 in 200 unrelated cases."""

WORSE: dict[Kind, float] = {"binary": -MARGIN, "five levels": -4 * MARGIN, "log ratio": -MARGIN}
"""A loss of exactly the packages' default margin, in the unit of the differences."""

BatchRule = Callable[[Batch], Bools]

ASK_FOR_BETTER: dict[str, BatchRule] = {
    "mean is higher": lambda batch: mean_is_higher(batch.differences),
    "Ladder, one standard error": lambda batch: one_standard_error(batch.differences),
    "ratchet": lambda batch: np.asarray(better(batch, resamples=RESAMPLES) <= ALPHA),
}
ASK_FOR_NO_WORSE: dict[str, BatchRule] = {
    "ratchet, guardrail": lambda batch: np.asarray(
        not_worse(batch, margin=-WORSE[batch.design.kind], resamples=BOUND_RESAMPLES) <= ALPHA
    ),
}


def main() -> bool:
    """Run the benchmark and write its page; whether the gate kept its levels."""
    peers = [peer for peer in PEERS if peer.installed]
    rates: page.Rates = {}
    for design in track(list(designs()), description="simulating"):
        for scenario, effect in (
            ("equal", 0.0),
            ("better", BETTER[design.kind]),
            ("worse", WORSE[design.kind]),
        ):
            if scenario == "better" and design.n != page.POWER_CASES:
                continue
            for rule, rate in _rates(design, effect, scenario, peers).items():
                rates.setdefault(rule, {}).setdefault(scenario, {})[design] = rate
    chains = promoted_by(CHAINS, seed=11)
    own = max(rates["ratchet"]["equal"].values())
    ledger = float(chains["ratchet, alpha ledger"][-1])
    table = {
        rule: {
            scenario: {str(design): rate for design, rate in found.items()}
            for scenario, found in scenarios.items()
        }
        for rule, scenarios in rates.items()
    }
    result = Result(
        id="E1",
        work=f"share of nights on which a rule promotes: {NIGHTS:,} nights a design, {PEER_NIGHTS} "
        f"for packages; {CHAINS:,} chains of useless challengers",
        own={name: table[name] for name in ("ratchet", "ratchet, guardrail")},
        peers={
            **{name: found for name, found in table.items() if not name.startswith("ratchet")},
            **{peer.name: "not installed here" for peer in PEERS if not peer.installed},
        },
        limit={"nominal": ALPHA, "chains": {name: list(found) for name, found in chains.items()}},
        ratios={
            name: max(found["equal"].values()) / own
            for name, found in rates.items()
            if "equal" in found
        },
        goal=f"the gate promotes what is no better on at most {LARGEST:.2%} of nights in every "
        f"design, and {ALPHA:.0%} of chains",
        met=own <= LARGEST and ledger <= ALPHA,
        versions=versions("numpy", "scipy", *(peer.package for peer in PEERS)),
    )
    show(
        result,
        [
            {
                "rule": rule,
                "promoted, no better": page.span(found["equal"].values()),
                f"promoted, better, n {page.POWER_CASES}": page.span(found["better"].values()),
                "passed, worse by the margin": page.span(found.get("worse", {}).values()),
            }
            for rule, found in rates.items()
        ],
    )
    save(result)
    page.write(rates, chains, result, nights=NIGHTS, peer_nights=PEER_NIGHTS)
    return result.met


def _rates(design: Design, effect: float, scenario: str, peers: list[Peer]) -> dict[str, float]:
    rules = ASK_FOR_NO_WORSE if scenario == "worse" else ASK_FOR_BETTER | ASK_FOR_NO_WORSE
    passed = dict.fromkeys(rules, 0)
    found = {}
    for number in range(NIGHTS // _AT_ONCE):
        batch = simulate(design, _AT_ONCE, effect=effect, seed=20_000 + number)
        for name, rule in rules.items():
            passed[name] += int(np.sum(rule(batch)))
        if number == 0:
            found = {
                peer.name: _peer_rate(peer, batch)
                for peer in peers
                if scenario != "worse" or peer.asks == "no worse"
            }
    return {name: count / NIGHTS for name, count in passed.items()} | found


def _peer_rate(peer: Peer, batch: Batch) -> float:
    design = batch.design
    cluster = design.cluster if design.icc and peer.clusters else None
    return float(
        np.mean(
            [
                peer.promotes(
                    on_unit_scale(design.kind, batch.champion[night]),
                    on_unit_scale(design.kind, batch.challenger[night]),
                    cluster,
                    design.kind == "binary",
                )
                for night in range(PEER_NIGHTS)
            ]
        )
    )
