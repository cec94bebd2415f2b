"""Mean scores -> a picture for the run's page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.report import numbers
from tasks.track.metrics import MeanScore

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def score_figure(scores: Sequence[MeanScore], *, title: str) -> "Figure":
    """Draw measures between 0 and 1 as dots with their 95 % intervals, best to compare by eye."""
    from matplotlib.figure import Figure

    shown = [score for score in reversed(scores) if 0 <= score.mean <= 1]
    figure = Figure(figsize=(8, 1.6 + 0.36 * max(1, len(shown))), layout="constrained")
    axes = figure.add_subplot()
    for row, score in enumerate(shown):
        if score.ci_low is not None and score.ci_high is not None:
            axes.plot([score.ci_low, score.ci_high], [row, row], color="#9db4d0", linewidth=5)
        axes.plot(score.mean, row, "o", color="#1f4e8c", markersize=7)
        axes.annotate(
            numbers.fixed(score.mean, 3),
            (score.mean, row),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#333333",
        )
    labels = [
        f"{score.measure}  (n={score.n}" + (f", {score.failed} failed)" if score.failed else ")")
        for score in shown
    ]
    # A name with a dollar sign is text, not mathematics.
    axes.set_yticks(range(len(shown)), labels=labels, parse_math=False)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.6, len(shown) - 0.2)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("mean over cases, with 95 % interval")
    axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    return figure
