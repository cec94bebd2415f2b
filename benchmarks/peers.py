"""Published packages that decide on paired scores: what each one's own rule says of a night.

Each is called as its documentation does, with its own defaults except for the number of resamples
(fewer, so that a simulation ends) and the seed. `promotes` is the package's word for "ship it".
Packages are imported when they are asked: they live in .ratchet/peers, not in the product.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from tasks.gate.inference import Floats, Ints

Promotes = Callable[[Floats, Floats, Ints | None, bool], bool]
"""(champion, challenger, clusters or None, scores are binary) -> whether the rule lets it pass."""

RESAMPLES = 1_000
MARGIN = 0.02
"""statgate's default margin and evalproof's default tolerance."""


@dataclass(frozen=True)
class Peer:
    """One rule of one package."""

    name: str
    package: str
    licence: str
    rule: str
    """What it needs to pass a challenger."""
    asks: str
    """better: it promotes what is better; no worse: it passes what isn't shown to be worse."""
    clusters: bool
    """Whether the rule knows related cases."""
    promotes: Promotes

    @property
    def installed(self) -> bool:
        """Whether the package can be imported here."""
        return find_spec(self.package) is not None


def evalsig(champion: Floats, challenger: Floats, cluster: Ints | None, binary: bool) -> bool:
    """`gate` with the least improvement of its README, 0.005."""
    from evalsig.compare.gate import GateVerdict, gate

    report = gate(
        evalsig_run(champion, cluster),
        evalsig_run(challenger, cluster),
        min_delta=0.005,
        cluster=None if cluster is None else "document",
        n_resamples=RESAMPLES,
    )
    return bool(report.verdict is GateVerdict.ALLOW)


def deltagate(champion: Floats, challenger: Floats, cluster: Ints | None, binary: bool) -> bool:
    """`evaluate_comparison`: significant, and in the right direction."""
    import deltagate as package

    report = package.evaluate_comparison(challenger, champion, n_boot=RESAMPLES)
    return bool(report.significant and report.delta > 0)


def statgate(champion: Floats, challenger: Floats, cluster: Ints | None, binary: bool) -> bool:
    """`evaluate_gate`: the interval lies above -margin; the default margin is 0.02."""
    return _statgate(champion, challenger, margin=MARGIN)


def statgate_without_margin(
    champion: Floats, challenger: Floats, cluster: Ints | None, binary: bool
) -> bool:
    """`evaluate_gate` with margin 0: the interval lies above 0."""
    return _statgate(champion, challenger, margin=0.0)


def evalci(champion: Floats, challenger: Floats, cluster: Ints | None, binary: bool) -> bool:
    """`compare`: p < .05, as its `multi_compare` calls significant, in the right direction."""
    import evalci as package

    found = package.compare(challenger, champion, n_resamples=RESAMPLES, random_state=0)
    return bool(found.p_value < 0.05 and found.delta > 0)


def evalproof(champion: Floats, challenger: Floats, cluster: Ints | None, binary: bool) -> bool:
    """`decide`: no drop that is both over 0.02 and significant."""
    from evalproof.compare import compare_runs
    from evalproof.config import GateConfig
    from evalproof.gate import decide

    gate = GateConfig(metric="score", n_boot=RESAMPLES)
    sides = [evalproof_run({"score": side}, binary=binary) for side in (champion, challenger)]
    comparison = compare_runs(*sides, alpha=gate.alpha, n_boot=gate.n_boot)
    return bool(decide(comparison, gate).exit_code == 0)


PEERS: tuple[Peer, ...] = (
    Peer(
        "evalsig",
        "evalsig",
        "Apache-2.0",
        "one-sided p < .05 and a gain of at least .005",
        "better",
        True,
        evalsig,
    ),
    Peer(
        "deltagate",
        "deltagate",
        "MIT",
        "two-sided z-test p < .05 and the BCa interval excludes 0",
        "better",
        False,
        deltagate,
    ),
    Peer("evalci", "evalci", "MIT", "two-sided permutation test p < .05", "better", False, evalci),
    Peer(
        "statgate, margin 0",
        "statgate",
        "MIT",
        "the two-sided 95 % BCa interval lies above 0",
        "better",
        False,
        statgate_without_margin,
    ),
    Peer(
        "statgate",
        "statgate",
        "MIT",
        "the two-sided 95 % BCa interval lies above -.02",
        "no worse",
        False,
        statgate,
    ),
    Peer(
        "evalproof",
        "evalproof",
        "Apache-2.0",
        "no drop that is over .02 and significant at .05",
        "no worse",
        False,
        evalproof,
    ),
)


def evalsig_run(scores: Floats, cluster: Sequence[int] | Ints | None) -> Any:
    """Scores as evalsig's RunFrame."""
    from evalsig.types import ItemResult, RunFrame

    groups = [None] * len(scores) if cluster is None else [str(group) for group in cluster]
    items = [
        ItemResult(item_id=name, score=float(score), cluster_id=group)
        for name, score, group in zip(_names(len(scores)), scores, groups, strict=True)
    ]
    return RunFrame(run_id="run", model_id="m", task_id="t", metric_name="score", items=items)


def statgate_records(scores: Floats) -> list[Any]:
    """Scores as statgate's records."""
    from statgate.records import EvalRecord

    return [
        EvalRecord(case_id=name, score=float(score))
        for name, score in zip(_names(len(scores)), scores, strict=True)
    ]


def evalproof_run(scores: Mapping[str, Floats], *, binary: bool) -> Any:
    """Scores of several metrics as evalproof's Run."""
    from evalproof.models import CaseResult, Run, RunInfo, Score, SystemOutput

    output = SystemOutput(output="")
    count = len(next(iter(scores.values())))
    results = [
        CaseResult(
            case_id=name,
            output=output,
            scores={
                metric: Score(value=float(values[i]), passed=bool(values[i]) if binary else None)
                for metric, values in scores.items()
            },
        )
        for i, name in enumerate(_names(count))
    ]
    info = RunInfo(
        suite="s",
        system="s",
        dataset_path="d",
        dataset_hash="d",
        started_at="",
        finished_at="",
        wall_time_s=0.0,
        evalproof_version="",
        seed=0,
    )
    return Run(info=info, results=results)


def _statgate(champion: Floats, challenger: Floats, *, margin: float) -> bool:
    from statgate.config import GateSettings
    from statgate.verdict import Verdict, evaluate_gate

    # Its permutation p-value is printed and doesn't enter the verdict.
    settings = GateSettings(margin=margin, resamples=RESAMPLES, permutations=100, seed=0)
    records = [statgate_records(side) for side in (champion, challenger)]
    return bool(evaluate_gate(*records, settings).verdict is Verdict.SHIP)


@cache
def _names(count: int) -> tuple[str, ...]:
    return tuple(f"case-{i:04d}" for i in range(count))


def on_unit_scale(kind: str, scores: Floats) -> Floats:
    """Scores as these packages expect them: five levels from 0 to 1."""
    return (scores - 1.0) / 4.0 if kind == "five levels" else np.asarray(scores)
