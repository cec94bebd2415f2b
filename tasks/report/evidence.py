"""Evaluations or plain scores of both sides -> what a report can show of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.gate.scores import Scores, from_log

if TYPE_CHECKING:
    from tasks.evaluate.log import EvalLog


@dataclass(frozen=True, slots=True)
class Logs:
    """The evaluations behind the scores: questions, answers, passages, time and money."""

    old: "EvalLog | None"
    new: "EvalLog"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores of both sides, and where they come from when that is known."""

    old: Scores | None
    """None for a first release."""
    new: Scores
    logs: Logs | None
    """None for scores from any other tool: they say nothing about answers."""


def evidence(champion: "EvalLog | Scores | None", challenger: "EvalLog | Scores") -> Evidence:
    """Put both sides in one form; evaluations count as scores when the other side is scores."""
    old = champion if champion is None or isinstance(champion, Scores) else from_log(champion)
    if isinstance(challenger, Scores):
        return Evidence(old, challenger, None)
    logs = None if isinstance(champion, Scores) else Logs(champion, challenger)
    return Evidence(old, from_log(challenger), logs)
