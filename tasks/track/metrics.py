"""EvalLog -> the numbers and parameters of an MLflow run, named so that runs compare well."""

import re
from dataclasses import dataclass

import numpy as np

from tasks.answer.release import Release
from tasks.digest import SHORT
from tasks.evaluate.log import EvalLog, MeasureInfo
from tasks.gate.inference import mean_bounds, standard_error
from tasks.report import effort

CONFIDENCE = 0.95
_RESAMPLES = 2000
_REFUSED = re.compile(r"[^\w.\- /]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class MeanScore:
    """A measure's mean over the cases that have it, and what it may be on other such cases."""

    measure: str
    mean: float
    ci_low: float | None
    """None: a single case or cluster says nothing about others."""
    ci_high: float | None
    n: int
    failed: int


def metric_name(name: str) -> str:
    """Write a measure's name in the characters that MLflow takes: `R@5` is `R_at_5`.

    Letters, digits, `_`, `-`, `.`, space and `/` stay; a name made of parts joined by `/` is
    shown in groups.
    """
    parts = _REFUSED.sub("_", name.replace("@", "_at_").replace("%", "_percent")).split("/")
    kept = [part.strip(" ") for part in parts if part.strip(" .")]
    return "/".join(kept) or "unnamed"


def mean_scores(log: EvalLog) -> list[MeanScore]:
    """Mean and 95 % interval of every measure that has at least one value.

    Intervals resample clusters, as the gate does. Bounded measures get the gate's own bound, which
    stays honest when all cases agree; unbounded ones Student's t.
    """
    return [
        summary for info in log.manifest.measures if (summary := _mean_score(log, info)) is not None
    ]


def _mean_score(log: EvalLog, info: MeasureInfo) -> MeanScore | None:
    from scipy.stats import t

    values = log.values(info.name)
    if not values:
        return None
    clusters: dict[str, list[float]] = {}
    for case in log.cases:
        if case.case_id in values:
            cluster = case.cluster or case.case_id
            clusters.setdefault(cluster, []).append(values[case.case_id])
    mean = float(np.mean(list(values.values())))
    sizes = np.array([len(rows) for rows in clusters.values()], dtype=np.float64)
    low: float | None = None
    high: float | None = None
    # Marks from 1 to 5 are bounded too, but not by 0 and 1.
    within = info.kind != "positive" and all(0 <= value <= 1 for value in values.values())
    if len(clusters) > 1 and within:
        sums = np.array([sum(rows) for rows in clusters.values()]) - 0.5 * sizes
        bounds = mean_bounds(sums, sizes, worst=0.5, resamples=_RESAMPLES, seed=0)
        low, high = (edge + 0.5 for edge in bounds.interval((1 - CONFIDENCE) / 2))
    elif len(clusters) > 1:
        sums = np.array([sum(rows) for rows in clusters.values()])
        width = (standard_error(sums, sizes) or 0.0) * float(
            t.ppf((1 + CONFIDENCE) / 2, len(clusters) - 1)
        )
        low, high = max(0.0, mean - width), mean + width
    return MeanScore(info.name, mean, low, high, len(values), len(log.failed(info.name)))


def run_metrics(log: EvalLog, scores: list[MeanScore]) -> dict[str, float]:
    """Every number of a run: means first, then their intervals, failures, cost and tokens.

    Seconds for times, the manifest's currency for costs. What isn't known is left out.
    """
    metrics = {metric_name(score.measure): score.mean for score in scores}
    for score in scores:
        if score.ci_low is not None and score.ci_high is not None:
            metrics[f"ci/{metric_name(score.measure)}_low"] = score.ci_low
            metrics[f"ci/{metric_name(score.measure)}_high"] = score.ci_high
    metrics["run/cases"] = float(len(log.results))
    metrics["run/wall_s"] = log.manifest.wall_s
    metrics["run/failures"] = float(len(log.failures))
    for info in log.manifest.measures:
        metrics[f"failures/{metric_name(info.name)}"] = float(len(log.failed(info.name)))
    for purpose, row in log.manifest.costs.items():
        name = metric_name(purpose)
        metrics[f"cost/{name}"] = row.cost
        metrics[f"calls/{name}"] = float(row.calls)
        metrics[f"calls/{name}_cached"] = float(row.cache_hits)
        metrics[f"tokens/{name}_in"] = float(row.input_tokens)
        metrics[f"tokens/{name}_cached"] = float(row.cached_tokens)
        metrics[f"tokens/{name}_out"] = float(row.output_tokens)
        if row.machine_s is not None:
            metrics[f"machine_s/{name}"] = row.machine_s
    rows = list(log.manifest.costs.values())
    metrics["cost/total"] = effort.total(rows)
    if (seconds := effort.machine_s(rows)) is not None:
        metrics["machine_s/total"] = seconds
    return metrics


def run_params(log: EvalLog, release: Release) -> dict[str, str]:
    """What distinguishes one run from another, short enough to read side by side."""
    manifest = log.manifest
    dirty = {None: "unknown", True: "yes", False: "no"}[manifest.git_dirty]
    return {
        "release": release.digest[:SHORT],
        "prompt": f"{release.prompt.name}@{release.prompt.digest[:SHORT]}",
        "model": f"{release.model.name}@{release.model.digest[:SHORT]}",
        "index": release.index_digest[:SHORT],
        "corpus": release.corpus_digest[:SHORT],
        "embedding": f"{release.embedding}@{release.embedding_digest[:SHORT]}",
        "retrieval": release.retrieval.kind,
        "top_k": str(release.retrieval.top_k),
        "chunk_tokens": str(release.chunking.max_tokens),
        "chunk_overlap": str(release.chunking.overlap_tokens),
        "temperature": str(release.model.sampling.temperature),
        "max_tokens": str(release.model.sampling.max_tokens),
        "suite": f"{manifest.suite_name}@{manifest.suite_digest[:SHORT]}",
        "judge": manifest.judge_digest[:SHORT],
        "judged_cases": str(len(manifest.judged_cases)),
        "seed": str(manifest.seed),
        "currency": manifest.currency,
        "git_commit": manifest.git_commit[:SHORT] if manifest.git_commit else "unknown",
        "git_dirty": dirty,
    }
