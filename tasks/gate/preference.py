"""A judge's preferences between two releases -> scores of both sides, and how fair its order is."""

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.gate.agreement import CONFIDENCE
from tasks.gate.decision import Check
from tasks.gate.judge_bias import PairwiseVerdict, position_consistency
from tasks.gate.policy import PREFERENCE
from tasks.gate.scores import ScoreRow, Scores

if TYPE_CHECKING:
    # The statistics need no model client: scores may come from a plain file.
    from tasks.evaluate.pairwise import Preferences, Side

_NAMES = {"champion": "A", "challenger": "B", "tie": "tie"}


def with_preferences(
    champion: Scores, challenger: Scores, preferences: "Preferences"
) -> tuple[Scores, Scores]:
    """Both sides with their share of the preferences: 1 for a win, 1/2 for a tie, 0 for a loss.

    The paired difference of a case is so 1, 0 or -1, and their mean the challenger's wins less its
    losses, as a share of the cases. A case without a verdict is missing on both sides.
    """
    return _side(champion, preferences, "champion"), _side(challenger, preferences, "challenger")


def _side(scores: Scores, preferences: "Preferences", side: "Side") -> Scores:
    rows = tuple(
        ScoreRow(
            row.case_id,
            PREFERENCE,
            None
            if row.winner is None
            else 0.5
            if row.winner == "tie"
            else float(row.winner == side),
            None if row.winner is not None else f"{row.error_type}: {row.message}",
        )
        for row in preferences.rows
    )
    declared = {**scores.declared, PREFERENCE: ("bounded", True)}
    return replace(scores, rows=(*scores.rows, *rows), declared=declared)


def check_preference(preferences: "Preferences") -> Check:
    """Say how often the judge's verdict survived the other order, and which place it favours."""
    verdicts = [
        PairwiseVerdict(case_id=row.case_id, order=order, winner=_NAMES[said])
        for row in preferences.rows
        for order, said in (("AB", row.champion_first), ("BA", row.challenger_first))
        if said is not None
    ]
    found = position_consistency(verdicts)
    if found is None:
        text = f"The judge gave no verdict on any of {len(preferences.rows)} pairs of answers."
        return Check(name="preference", status="note", text=text)
    wins, losses = (
        sum(row.winner == side for row in preferences.rows) for side in ("challenger", "champion")
    )
    places = preferences.places()
    missing = len(preferences.rows) - found.n
    return Check(
        name="preference",
        status="note",
        text=f"Shown both answers in both orders, the judge preferred the challenger's in {wins} "
        f"and the champion's in {losses} of {found.n} cases; the rest are ties."
        + (f" {missing} more have no verdict." if missing else ""),
        detail=f"Same verdict in both orders: {places['same']} of {found.n} "
        f"({CONFIDENCE:.0%} interval {found.share.low:.0%} to {found.share.high:.0%}). It changed "
        f"in favour of the answer shown first {places['first']} times, shown second "
        f"{places['second']} times; those count as ties.",
    )
