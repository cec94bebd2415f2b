"""P8: one decision over 20 measures, beside loops over scipy and beside the peers.

1,000 cases of 200 documents, 20 measures, 10,000 resamples. The gate tests the primary, bounds all
20 measures on clusters, and bounds six slices together (max-T). A peer does what it can of that:
none has max-T, and most don't know clusters. A whole decision starts from scores by case and
measure, as a file gives them; "tests alone" start from paired differences, as scipy does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.harness import Result, Timing, save, show, time_runs, versions
from benchmarks.peers import PEERS, evalproof_run, evalsig_run, statgate_records
from tasks.gate import GatePolicy, decide
from tasks.gate.compare import compare_all, pair_all
from tasks.gate.inference import Floats, Ints
from tasks.gate.policy import MeasurePolicy, Slices
from tasks.gate.scores import ScoredCase, ScoreRow, Scores

CASES, CLUSTERS, MEASURES, RESAMPLES, SLICES = 1_000, 200, 20, 10_000, 6
GOAL = 100.0
SCIPY = "scipy loop over cases"

Side = dict[str, Floats]


@dataclass(frozen=True)
class Line:
    """One implementation of the work."""

    name: str
    does: str
    timing: Timing


def main() -> bool:
    """Run the benchmark; whether its goal was met."""
    champion, challenger, cluster = _scores()
    policy = _policy(list(champion))

    def fresh() -> tuple[Scores, Scores]:
        return _as_scores(champion, cluster), _as_scores(challenger, cluster)

    paired = pair_all(policy, *fresh())
    own = Line(
        "ratchet, whole decision",
        "clusters, max-T",
        time_runs(lambda sides: decide(sides[0], sides[1], policy), prepare=fresh),
    )
    tests = Line(
        "ratchet, tests alone",
        "clusters",
        time_runs(lambda _: compare_all(policy, paired, alpha=policy.alpha, seed=0)),
    )
    floor = Line(
        "limit",
        "weights, one product",
        time_runs(lambda _: _matrix_product(champion, challenger, cluster)),
    )
    differences = np.stack([challenger[name] - champion[name] for name in champion])
    sums = _cluster_sums(champion, challenger, cluster)
    peers = [
        Line(SCIPY, "no clusters", time_runs(lambda _: _scipy(differences))),
        Line("scipy loop over cluster sums", "clusters", time_runs(lambda _: _scipy(sums))),
    ]
    absent = []
    for package, does, prepare in _peer_work(champion, challenger, cluster):
        if find_spec(package) is None:
            absent.append(package)
            continue
        work, given = prepare()
        peers.append(Line(package, does, _timed(work, given)))

    ratios = {line.name: line.timing.median / own.timing.median for line in peers}
    result = Result(
        id="P8",
        work=f"a decision on {CASES:,} cases x {MEASURES} measures x {RESAMPLES:,} resamples",
        own={line.name: _figures(line) for line in (own, tests)},
        peers={
            **{line.name: _figures(line) for line in peers},
            **dict.fromkeys(absent, "not installed; requirements/bench.txt names its version"),
        },
        limit=_figures(floor),
        ratios=ratios,
        goal=f"a whole decision {GOAL:.0f} x as fast as scipy's loop over the cases, and ahead of "
        "every peer",
        met=ratios[SCIPY] >= GOAL and all(ratio > 1 for ratio in ratios.values()),
        versions=versions("numpy", "scipy", *(peer.package for peer in PEERS)),
    )
    show(
        result,
        [
            {
                "who": line.name,
                "does": line.does,
                "median, s": f"{line.timing.median:.3f}",
                "x the decision": f"{line.timing.median / own.timing.median:.2f}",
                "x the tests": f"{line.timing.median / tests.timing.median:.2f}",
            }
            for line in (own, tests, *peers, floor)
        ],
    )
    for package in absent:
        print(f"{package}: not installed, see requirements/bench.txt")
    save(result)
    return result.met


def _timed(work: Callable[[Any], object], given: object) -> Timing:
    return time_runs(work, prepare=lambda: given)


def _figures(line: Line) -> dict[str, Any]:
    return {
        "median_s": line.timing.median,
        "seconds": line.timing.seconds,
        "does": line.does,
    }


def _scores() -> tuple[Side, Side, Ints]:
    generator = np.random.default_rng(8)
    cluster = np.arange(CASES) // (CASES // CLUSTERS)
    champion: Side = {}
    challenger: Side = {}
    for number in range(MEASURES):
        shared = 0.3 * generator.standard_normal(CLUSTERS)[cluster]
        for side, gain in ((champion, 0.0), (challenger, 0.02)):
            own = 0.5 + gain + shared + 0.2 * generator.standard_normal(CASES)
            side[f"measure_{number:02d}"] = np.clip(own, 0.0, 1.0)
    return champion, challenger, cluster


def _policy(names: Sequence[str]) -> GatePolicy:
    measures = {
        name: MeasurePolicy(kind="bounded", direction="higher", role="guardrail", margin=0.05)
        for name in names
    }
    measures[names[0]] = MeasurePolicy(kind="bounded", direction="higher", role="primary")
    return GatePolicy(resamples=RESAMPLES, slices=Slices(), measures=measures)


def _as_scores(side: Side, cluster: Ints) -> Scores:
    cases = tuple(
        ScoredCase(f"case-{i:04d}", f"document-{group:03d}", (f"tag-{i % SLICES}",))
        for i, group in enumerate(cluster)
    )
    rows = tuple(
        ScoreRow(case.case_id, measure, value)
        for measure, values in side.items()
        for case, value in zip(cases, values.tolist(), strict=True)
    )
    return Scores(cases=cases, rows=rows, release="release")


def _cluster_sums(champion: Side, challenger: Side, cluster: Ints) -> Floats:
    return np.stack(
        [np.bincount(cluster, weights=challenger[name] - champion[name]) for name in champion]
    )


def _matrix_product(champion: Side, challenger: Side, cluster: Ints) -> Floats:
    sums = _cluster_sums(champion, challenger, cluster)
    weights = np.random.default_rng(0).standard_exponential((RESAMPLES, CLUSTERS))
    return np.asarray(weights @ sums.T)


def _scipy(rows: Floats) -> list[float]:
    from scipy.stats import permutation_test

    return [
        float(
            permutation_test(
                (row,),
                lambda values, axis: np.sum(values, axis=axis),
                permutation_type="samples",
                vectorized=True,
                n_resamples=RESAMPLES,
                alternative="greater",
                rng=np.random.default_rng(0),
            ).pvalue
        )
        for row in rows
    ]


Prepared = tuple[Callable[[Any], object], Any]


def _peer_work(
    champion: Side, challenger: Side, cluster: Ints
) -> list[tuple[str, str, Callable[[], Prepared]]]:
    """What each package does for the same question; its own kind of input is made untimed."""
    pairs = [(champion[name], challenger[name]) for name in champion]

    def evalsig() -> Prepared:
        from evalsig.compare import compare

        runs = [[evalsig_run(side, cluster) for side in pair] for pair in pairs]
        return (
            lambda given: [
                compare(*pair, cluster="document", one_sided=True, n_resamples=RESAMPLES)
                for pair in given
            ],
            runs,
        )

    def deltagate() -> Prepared:
        import deltagate as package

        suite = {name: (challenger[name], champion[name]) for name in champion}
        return lambda given: package.reliability_report(given, n_boot=RESAMPLES), suite

    def statgate() -> Prepared:
        from statgate.config import GateSettings
        from statgate.verdict import evaluate_gate

        settings = GateSettings(resamples=RESAMPLES, permutations=RESAMPLES, seed=0)
        records = [[statgate_records(side) for side in pair] for pair in pairs]
        return lambda given: [evaluate_gate(*pair, settings) for pair in given], records

    def evalci() -> Prepared:
        import evalci as package
        import pandas as pd

        table = pd.DataFrame(
            [
                {"item_id": i, "model": model, "score": value, "subset": name}
                for model, side in (("champion", champion), ("challenger", challenger))
                for name, values in side.items()
                for i, value in enumerate(values.tolist())
            ]
        )
        return (
            lambda given: package.multi_compare(given, n_resamples=RESAMPLES, random_state=0),
            table,
        )

    def evalproof() -> Prepared:
        from evalproof.compare import compare_runs

        runs = [evalproof_run(side, binary=False) for side in (champion, challenger)]
        return lambda given: compare_runs(*given, n_boot=RESAMPLES), runs

    return [
        ("evalsig", "clusters (bootstrap)", evalsig),
        ("deltagate", "no clusters; Holm", deltagate),
        ("statgate", "no clusters, no correction", statgate),
        ("evalci", "no clusters; Holm", evalci),
        ("evalproof", "no clusters, no correction", evalproof),
    ]
