"""Cases -> means and wins by tag and by cluster, for looking and not for deciding."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tasks.report.cases import CaseView


@dataclass(frozen=True, slots=True)
class Slice:
    """One tag or cluster."""

    name: str
    n: int
    old: float | None
    new: float | None
    won: int
    lost: int


def slices(views: Iterable[CaseView], *, by: Literal["tag", "cluster"]) -> tuple[Slice, ...]:
    """Means and wins of each tag or cluster; those with the most changes first.

    With many slices some differ by chance: the decision has its own, with bounds that hold for all
    of them at once. When every case is a cluster of its own there is nothing to group.
    """
    groups: dict[str, list[CaseView]] = defaultdict(list)
    for view in views:
        for name in view.case.tags if by == "tag" else (view.case.cluster,):
            groups[name].append(view)
    if by == "cluster" and all(len(members) == 1 for members in groups.values()):
        return ()
    rows = []
    for name, members in groups.items():
        old = [v.old.value for v in members if v.old and v.old.value is not None]
        new = [v.new.value for v in members if v.new.value is not None]
        rows.append(
            Slice(
                name=name,
                n=len(members),
                old=sum(old) / len(old) if old else None,
                new=sum(new) / len(new) if new else None,
                won=sum(v.change == "won" for v in members),
                lost=sum(v.change == "lost" for v in members),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.won - row.lost, -row.n, row.name)))
