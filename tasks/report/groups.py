"""Cases -> the groups of the page: what changed is all there, the rest up to a limit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.gate.policy import GatePolicy
from tasks.report.cases import CaseView, sorting_measure

SHOWN_UNCHANGED = 200
"""Cases without a change on the page."""


@dataclass(frozen=True, slots=True)
class Group:
    """Cases under one heading."""

    key: Literal["lost", "won", "same", "other"]
    title: str
    shown: tuple[CaseView, ...]
    total: int
    open: bool


def group_cases(
    policy: GatePolicy, views: Sequence[CaseView], *, compared: bool
) -> tuple[Group, ...]:
    """Losses first; for a first release what fails, or what is worst."""
    measure = sorting_measure(policy)
    rest = [view for view in views if not _applies(view)]
    cases = [view for view in views if _applies(view)]
    if compared:
        lost = [view for view in cases if view.change == "lost"]
        won = [view for view in cases if view.change == "won"]
        # A case that another measure won or lost must be there when something links to it.
        touched = [view for view in cases if view.change == "tie" and _touched(view)]
        tied = [view for view in cases if view.change == "tie" and not _touched(view)]
        groups = [
            _group("lost", "Losses", lost, open_up_to=len(lost)),
            _group("won", "Wins", won, open_up_to=40),
            _group("same", "Ties", [*touched, *tied], keep=len(touched)),
        ]
    elif policy.measures[measure].kind == "binary":
        failing = [view for view in cases if view.new.value != 1.0]
        passing = [view for view in cases if view.new.value == 1.0]
        groups = [
            _group("lost", "Not passed", failing, open_up_to=len(failing)),
            _group("same", "Passed", passing),
        ]
    else:
        missing = [view for view in cases if view.new.value is None]
        sign = 1.0 if policy.measures[measure].direction == "higher" else -1.0
        scored = sorted(
            (view for view in cases if view.new.value is not None),
            key=lambda view: sign * (view.new.value or 0.0),
        )
        groups = [
            _group("lost", "Without a score", missing, open_up_to=len(missing)),
            _group("same", "Scored, the worst first", scored),
        ]
    if rest:
        groups.append(_group("other", f"Cases without {measure}", rest))
    return tuple(groups)


def anchors(views: Sequence[CaseView], groups: Iterable[Group]) -> dict[str, str]:
    """Where on the page each case is, by its id; a case that isn't shown has no place."""
    numbers = {view.case.case_id: number for number, view in enumerate(views, start=1)}
    return {
        view.case.case_id: f"case-{numbers[view.case.case_id]}"
        for group in groups
        for view in group.shown
    }


def _applies(view: CaseView) -> bool:
    return view.change is not None or view.new.value is not None or view.failed


def _touched(view: CaseView) -> bool:
    return any(row.change in ("won", "lost") for row in view.values)


def _group(
    key: Literal["lost", "won", "same", "other"],
    title: str,
    members: Sequence[CaseView],
    *,
    keep: int = 0,
    open_up_to: int = 0,
) -> Group:
    """A group; `keep` of its first members are shown whatever the limit is."""
    changed = key in ("lost", "won")
    limit = len(members) if changed else max(SHOWN_UNCHANGED, keep)
    return Group(key, title, tuple(members[:limit]), len(members), len(members) <= open_up_to)
