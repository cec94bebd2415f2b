"""Rates of E1 -> docs/gate-error-rates.md and its plot."""

from collections.abc import Iterable, Mapping
from math import sqrt

import numpy as np

from benchmarks.harness import ROOT, Result
from benchmarks.peers import PEERS
from benchmarks.simulate import ICCS, KINDS, Design
from tasks.gate.inference import Floats
from tasks.store import write_atomic

Rates = dict[str, dict[str, dict[Design, float]]]
"""By rule, then scenario (equal, better, worse), then design."""

PAGE = ROOT / "docs" / "gate-error-rates.md"
PLOT = ROOT / "docs" / "gate-error-rates.svg"

POWER_CASES = 200
"""Whether rules find a gain is compared at this size only."""

_RELATION = {0.0: "unrelated", 0.1: "ICC 0.1", 0.3: "ICC 0.3"}


def span(rates: Iterable[float]) -> str:
    """Smallest to largest share, in per cent; a dash where nothing was asked."""
    found = sorted(rates)
    if not found:
        return "-"
    low, high = f"{100 * found[0]:.1f}", f"{100 * found[-1]:.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def write(
    rates: Rates,
    chains: Mapping[str, Floats],
    result: Result,
    *,
    nights: int,
    peer_nights: int,
) -> None:
    """Write the page and the plot."""
    PAGE.parent.mkdir(exist_ok=True)
    _plot(rates, chains)
    write_atomic(PAGE, _page(rates, chains, result, nights=nights, peer_nights=peer_nights))


def _page(
    rates: Rates,
    chains: Mapping[str, Floats],
    result: Result,
    *,
    nights: int,
    peer_nights: int,
) -> str:
    asks_better = [name for name, found in rates.items() if "worse" not in found]
    asks_no_worse = [name for name, found in rates.items() if "worse" in found]
    own_error, error = (2 * sqrt(0.05 * 0.95 / count) for count in (nights, peer_nights))
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    return f"""# How often the gate is wrong, beside other rules

Written by `make bench NAME=E1` on {result.date}; every figure is a share of simulated nights.
Versions: {versions}.

- "The mean is higher" promotes a challenger that is no better on
  {span(rates["mean is higher"]["equal"].values())} of nights.
- Packages that take cases of one document for unrelated do so on up to
  {_most_with_related_cases(rates)}.
- This gate does so on {span(rates["ratchet"]["equal"].values())}, whatever the scores, the number
  of cases and their relation; two standard errors of that are {100 * own_error:.1f} points.
- Fifty useless challengers in a row get one promoted in {span(chains["mean is higher"][-1:])} of
  chains where the mean decides, and in {span(chains["ratchet, alpha ledger"][-1:])} with this
  gate's ledger.

![Share of nights on which a challenger that is no better is promoted](gate-error-rates.svg)

## A challenger that is no better

What a rule promises is how rarely this happens; the level is 5 %. Each cell is the range over
binary scores, five-level scores and log ratios, with 20, 50, 200 and 1,000 cases.

{_table(asks_better, rates, "equal")}

"Related" cases come from the same document, and their differences are alike with the given
correlation (ICC). A rule that takes them for independent promotes the more useless challengers
the more they are alike. Two-sided rules should be at 2.5 %, since a worse challenger is no reason
to promote.

## A challenger that is better

By as much as a one-sided test at 5 % finds with a power of 80 % in 200 unrelated cases: 10 points
of a pass rate, 0.22 of five levels, or a ratio of 1.09. A high share is worth something only
where the table above keeps 5 %.

{_power_table(asks_better, rates)}

## Rules that only ask for "no worse"

statgate and evalproof let a challenger pass unless it is worse by 0.02; so does a guardrail of
this gate, with the margin that the policy gives. Their error is to pass what is worse by exactly
that much.

{_table(asks_no_worse, rates, "worse")}

A rule that stops only proven losses (evalproof) passes nearly everything when the cases are few:
it is no reason to put a release live. A guardrail works the other way round: it passes what is
proven to be harmless, and so needs many cases for a small margin: with fewer than 149 unrelated
ones it can't show 0.02 at all, and the gate says so before anything is run. Shares of challengers
that are exactly as good and pass:

{_table(asks_no_worse, rates, "equal")}

## Fifty useless challengers in a row

Against one suite of 200 cases and one champion, with binary scores. The share of such chains in
which at least one was promoted:

| rule | after 1 | after 10 | after 50 |
|---|---|---|---|
{_chain_rows(chains)}

The alpha ledger gives look t the level 0.05 x 6 / (pi^2 t^2), so that all looks together stay
under 5 %, however many there are.

## How it was simulated

Every score comes from a normal latent value. Half of its variance is the difficulty of the case,
which both releases share; the rest is the release's own, and a share (ICC) of that is common to
all cases of a document (2 cases of 20, 5 of 50, 10 of 200 and of 1,000). Binary scores pass in 60
% of cases; five levels have the shares 10, 15, 20, 30 and 25 %; a log ratio has a standard
deviation of 0.5. The rules above see the same nights: {nights:,} a design for those that can be
computed for many nights at once, {peer_nights} for packages, which means two standard errors of
{100 * error:.1f} points at a share of 5 %.

Packages are called as they document it, with their defaults, fewer resamples and five-level
scores on a scale from 0 to 1:

| package | licence | passes a challenger when | knows related cases |
|---|---|---|---|
{_peer_rows(result)}

Own tests: exact McNemar for unrelated binary cases, else a sign flip on cluster sums; for a
guardrail Gaffke's bound. All designs with 20,000 nights: `make bench NAME=E2`; every single rate
is in `benchmarks/results/E1.json`.
"""


def _most_with_related_cases(rates: Rates) -> str:
    """The largest share of useless promotions among packages that don't know related cases."""
    return span(
        sorted(
            rate
            for peer in PEERS
            if not peer.clusters and peer.asks == "better" and peer.name in rates
            for design, rate in rates[peer.name]["equal"].items()
            if design.icc
        )[-1:]
    )


def _table(rules: list[str], rates: Rates, scenario: str) -> str:
    lines = [
        "| rule | "
        + " | ".join(f"{_RELATION[icc]} cases" if not icc else _RELATION[icc] for icc in ICCS)
        + " |",
        "|---|" + "---|" * len(ICCS),
    ]
    for rule in rules:
        found = rates[rule][scenario]
        cells = [span(rate for design, rate in found.items() if design.icc == icc) for icc in ICCS]
        lines.append(f"| {rule} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _power_table(rules: list[str], rates: Rates) -> str:
    lines = [
        "| rule | "
        + " | ".join(f"{kind}, 200 cases" for kind in KINDS)
        + " | 200 related, ICC 0.3 |",
        "|---|" + "---|" * (len(KINDS) + 1),
    ]
    for rule in rules:
        found = rates[rule]["better"]
        cells = [span([found[Design(kind, POWER_CASES, 0.0)]]) for kind in KINDS]
        cells.append(span(found[Design(kind, POWER_CASES, 0.3)] for kind in KINDS))
        lines.append(f"| {rule} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _chain_rows(chains: Mapping[str, Floats]) -> str:
    return "\n".join(
        f"| {rule} | " + " | ".join(span([found[at - 1]]) for at in (1, 10, 50)) + " |"
        for rule, found in chains.items()
    )


def _peer_rows(result: Result) -> str:
    return "\n".join(
        f"| {peer.name} {result.versions.get(peer.package, '(not installed)')} | {peer.licence} "
        f"| {peer.rule} | {'yes' if peer.clusters else 'no'} |"
        for peer in PEERS
    )


def _plot(rates: Rates, chains: Mapping[str, Floats]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # Without these two the same figures give another file every time.
    with plt.rc_context({"svg.hashsalt": "ratchet", "font.size": 9}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=[3, 2])
        rules = [name for name, found in rates.items() if "worse" not in found]
        shades = {0.0: "#9ecae1", 0.1: "#4292c6", 0.3: "#08306b"}
        for row, rule in enumerate(reversed(rules)):
            for step, icc in enumerate(ICCS):
                found = [r for d, r in rates[rule]["equal"].items() if d.icc == icc]
                left.scatter(
                    found,
                    np.full(len(found), row + 0.22 * (1 - step)),
                    s=14,
                    color=shades[icc],
                    label=_RELATION[icc] if row == 0 else None,
                )
        left.axvline(0.05, color="#c0392b", linewidth=1)
        left.set_yticks(range(len(rules)), list(reversed(rules)))
        left.set_xlim(0, 0.56)
        left.set_xlabel("nights that promote a challenger that is no better")
        left.xaxis.set_major_formatter("{x:.0%}")
        left.legend(title="cases", frameon=False, loc="lower right")
        for rule, by_then in chains.items():
            own = rule.startswith("ratchet")
            right.plot(
                np.arange(1, len(by_then) + 1), by_then, linewidth=2 if own else 1.2, label=rule
            )
        right.axhline(0.05, color="#c0392b", linewidth=1)
        right.set_ylim(0, 1)
        right.set_xlabel("useless challengers so far")
        right.set_ylabel("chains with a promotion")
        right.yaxis.set_major_formatter("{x:.0%}")
        right.legend(frameon=False, loc="center right", fontsize=8)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        figure.savefig(PLOT, metadata={"Date": None})
        plt.close(figure)
