"""Projection -> a picture: chunks coloured by source, new and removed ones marked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from tasks.index.projection import Point, Projection, State
from tasks.report import numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Theme = Literal["light", "dark"]
PICTURE_FORMATS = ("png", "svg", "pdf")

_COLORS = ("#3b73c8", "#e08a1e", "#2a9d6f", "#b05cc6", "#c2533f", "#17a2b8", "#8a7f2d")
"""Of sources, the largest first; told apart also by the colour-blind. Further ones are grey."""
_OTHER = "#8d959e"
_REMOVED = "#d1362b"
_PAPER: dict[Theme, str] = {"light": "#ffffff", "dark": "#1c2024"}
_INK: dict[Theme, str] = {"light": "#1c1f23", "dark": "#e6e8ea"}
_SOFT: dict[Theme, str] = {"light": "#5d6670", "dark": "#9aa4ae"}
_NAMED = 8
"""So many new and removed chunks are named in the picture; more would hide each other."""


def picture(
    projection: Projection,
    sources: Mapping[str, str],
    *,
    form: str = "png",
    theme: Theme = "light",
) -> bytes:
    """Draw a projection.

    Args:
        projection: of one or two index versions.
        sources: name of the source of each document; others are "unknown".
        form: png, svg or pdf.
        theme: colours of paper and ink.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 5.6), layout="constrained", facecolor=_PAPER[theme])
    axes, side = figure.subplots(1, 2, width_ratios=[5, 1])
    axes.set_facecolor(_PAPER[theme])
    side.set_axis_off()
    colors = _colors(projection, sources)
    _scatter(axes, projection, sources, colors, theme)
    _name_changes(axes, projection, theme)
    _legends(side, projection, sources, colors, theme)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.04)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(
        "first two principal components, "
        f"{numbers.percent(projection.explained, 0)} of the variance",
        color=_SOFT[theme],
        fontsize=8.5,
        loc="left",
    )
    out = BytesIO()
    # Without a date and with one salt, an equal projection gives equal bytes.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "ratchet"}):
        figure.savefig(out, format=form, dpi=160, facecolor=_PAPER[theme], metadata=metadata)
    return out.getvalue()


def _colors(projection: Projection, sources: Mapping[str, str]) -> dict[str, str]:
    counted = Counter(sources.get(point.doc_id, "unknown") for point in projection.points)
    names = sorted(counted, key=lambda name: (-counted[name], name))
    return {
        name: _COLORS[place] if place < len(_COLORS) else _OTHER for place, name in enumerate(names)
    }


def _of(projection: Projection, state: State) -> list[Point]:
    return [point for point in projection.points if point.state == state]


def _scatter(
    axes: "Axes",
    projection: Projection,
    sources: Mapping[str, str],
    colors: Mapping[str, str],
    theme: Theme,
) -> None:
    kept, new, removed = (_of(projection, state) for state in ("kept", "new", "removed"))

    def colored(points: Sequence[Point]) -> list[str]:
        return [colors[sources.get(point.doc_id, "unknown")] for point in points]

    size = 26.0 if len(kept) < 300 else 12.0 if len(kept) < 2000 else 7.0
    changes_size = 90.0 if len(new) + len(removed) < 100 else 34.0
    axes.scatter(*_places(kept), s=size, c=colored(kept), alpha=0.45, linewidths=0)
    axes.scatter(
        *_places(new),
        s=changes_size,
        c=colored(new),
        edgecolors=_INK[theme],
        linewidths=1.3,
        zorder=3,
    )
    axes.scatter(
        *_places(removed), s=changes_size, c=_REMOVED, marker="x", linewidths=1.8, zorder=4
    )


def _places(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.x for point in points], [point.y for point in points]


def _name_changes(axes: "Axes", projection: Projection, theme: Theme) -> None:
    changes = [point for point in projection.points if point.state != "kept"]
    if len(changes) > _NAMED:
        return
    for point in changes:
        # A document whose chunk gave way to a new one has two marks: names on opposite sides.
        above = point.state == "new"
        axes.annotate(
            _shortened(point.doc_id),
            (point.x, point.y),
            xytext=(0, 10 if above else -16),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            color=_INK[theme],
            parse_math=False,
            zorder=5,
            bbox={"facecolor": _PAPER[theme], "alpha": 0.75, "edgecolor": "none", "pad": 1.5},
        )


def _shortened(name: str) -> str:
    printable = "".join(sign if sign.isprintable() else " " for sign in name)
    return printable if len(printable) <= 40 else f"…{printable[-39:]}"


def _legends(
    axes: "Axes",
    projection: Projection,
    sources: Mapping[str, str],
    colors: Mapping[str, str],
    theme: Theme,
) -> None:
    from matplotlib.lines import Line2D

    def dot(label: str, **look: object) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, **look)  # type: ignore[arg-type]

    compared = "unchanged" if projection.new or projection.removed else "all"
    states = [
        dot(f"{compared}: {numbers.count(projection.kept)}", marker="o", color=_OTHER, alpha=0.6)
    ]
    if projection.new:
        states.append(
            dot(
                f"new: {numbers.count(projection.new)}",
                marker="o",
                markersize=8,
                markerfacecolor=_OTHER,
                markeredgecolor=_INK[theme],
                markeredgewidth=1.3,
            )
        )
    if projection.removed:
        states.append(
            dot(
                f"removed: {numbers.count(projection.removed)}",
                marker="x",
                markersize=8,
                markeredgecolor=_REMOVED,
                markeredgewidth=1.8,
            )
        )
    shown = list(colors)[: len(_COLORS)]
    by_source = [dot(_shortened(name), marker="o", color=colors[name]) for name in shown]
    if len(colors) > len(shown):
        by_source.append(dot(f"{len(colors) - len(shown)} more", marker="o", color=_OTHER))
    for handles, title, top in ((states, "Chunks", 1.0), (by_source, "Source", 0.8)):
        legend = axes.legend(
            handles=handles,
            title=title,
            title_fontproperties={"weight": "bold", "size": 9},
            loc="upper left",
            bbox_to_anchor=(-0.1, top),
            frameon=False,
            labelcolor=_INK[theme],
            fontsize=9,
            alignment="left",
        )
        legend.get_title().set_color(_INK[theme])
        for text in legend.get_texts():
            text.set_parse_math(False)
        # Else the next legend would take its place.
        axes.add_artist(legend)
