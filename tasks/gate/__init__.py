"""The gate: does a challenger replace the champion? Usable on its own, on scores from any tool."""

from tasks.gate.decide import decide
from tasks.gate.decision import GateDecision
from tasks.gate.jsonl import load_scores
from tasks.gate.policy import GatePolicy, load_policy

__all__ = ["GateDecision", "GatePolicy", "decide", "load_policy", "load_scores"]
