"""GateDecision + eval logs -> figures for MLflow and rows for DVC plots."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.gate.decision import Comparison, GateDecision
from tasks.report import numbers, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tasks.evaluate.log import EvalLog

_COLOURS = {
    "better": "#13794a",
    "not_worse": "#13794a",
    "worse": "#b3261e",
    "unclear": "#b07400",
    "reported": "#6d7680",
}
_OLD, _NEW = "#9aa4ae", "#2f5fb3"


def forest_figure(decision: GateDecision) -> "Figure":
    """Differences with their intervals: scores above, ratios below, better to the right."""
    from matplotlib.figure import Figure

    groups = [
        ("points of 100", [row for row in decision.comparisons if row.kind != "positive"]),
        ("log ratio", [row for row in decision.comparisons if row.kind == "positive"]),
    ]
    groups = [(label, rows) for label, rows in groups if rows]
    sizes = [len(rows) + 1 for _, rows in groups] or [1]
    figure = Figure(figsize=(7.5, 0.42 * sum(sizes) + 0.9), layout="constrained")
    figure.suptitle(f"{decision.verdict}: {decision.challenger}", fontsize=11, ha="center")
    if groups:
        axes = figure.subplots(len(groups), 1, squeeze=False, height_ratios=sizes)[:, 0]
        for axis, (label, rows) in zip(axes, groups, strict=True):
            _forest(axis, rows, decision, f"{label}, better to the right")
    return figure


def _forest(axis: "Axes", rows: list[Comparison], decision: GateDecision, label: str) -> None:
    for position, row in enumerate(rows):
        low, high = decision.policy.measures[row.measure].range
        unit = 1.0 if row.kind == "positive" else 100 / (high - low)
        colour = _COLOURS[row.outcome]
        axis.plot([row.ci_low * unit, row.ci_high * unit], [position] * 2, color=colour, lw=2)
        marker = "s" if row.role == "primary" else "o"
        axis.plot([row.delta * unit], [position], marker, color=colour, ms=6)
        if row.threshold is not None:
            axis.plot([row.threshold * unit], [position], "|", color="#b07400", ms=12, mew=2)
    axis.axvline(0, color="#5d6670", lw=0.8)
    axis.set_yticks(range(len(rows)), [f"{row.measure} ({row.role})" for row in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(label, fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def distribution_figure(
    champion_log: "EvalLog | None", challenger_log: "EvalLog", measure: str
) -> "Figure":
    """How a measure's values are spread over the cases, on both sides."""
    from matplotlib.figure import Figure

    sides = [("champion", champion_log, _OLD), ("challenger", challenger_log, _NEW)]
    data = [
        (f"{name}, {numbers.plural(len(values), 'case')}", values, colour)
        for name, log, colour in sides
        if log and (values := list(log.values(measure).values()))
    ]
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.set_title(measure, fontsize=10)
    if data:
        axis.hist(
            [values for _, values, _ in data],
            bins=20,
            color=[colour for _, _, colour in data],
            label=[label for label, _, _ in data],
        )
        axis.legend(fontsize=8, frameon=False)
    axis.set_ylabel("cases", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def save_plots(
    decision: GateDecision,
    champion_log: "EvalLog | None",
    challenger_log: "EvalLog",
    directory: Path,
) -> tuple[Path, ...]:
    """Write `forest.png` and one `distribution-<measure>.png` for each measure with scores."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    if decision.comparisons:
        paths.append(directory / "forest.png")
        forest_figure(decision).savefig(paths[-1], dpi=130)
    for info in challenger_log.manifest.measures:
        if challenger_log.values(info.name):
            name = "".join(c if c.isalnum() else "-" for c in info.name)
            paths.append(directory / f"distribution-{name}.png")
            figure = distribution_figure(champion_log, challenger_log, info.name)
            figure.savefig(paths[-1], dpi=110)
    return tuple(paths)


def comparison_rows(decision: GateDecision) -> list[dict[str, Any]]:
    """One row a measure, unrounded, for `dvc plots` and other programs."""
    return [
        {
            "measure": row.measure,
            "role": row.role,
            "champion": row.mean_champion,
            "challenger": row.mean_challenger,
            "delta": row.delta,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "p_value": row.p_value,
            "result": words.OUTCOMES[row.outcome],
        }
        for row in decision.comparisons
    ]
