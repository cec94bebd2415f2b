"""What the gate is told beside two evaluations: plan, noise, anchor, must-pass confirmations."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from flows.steps.evaluate import ask_again
from flows.workspace import Workspace
from tasks.answer.release import Release
from tasks.digest import Digest, digest
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import EvalLog, EvalManifest, load_log, load_manifest
from tasks.evaluate.run import Progress, draw
from tasks.evaluate.suite import Suite
from tasks.gate.decision import GateDecision, load_decision
from tasks.gate.must_pass import Confirmations, lost_cases
from tasks.gate.noise import NoiseFloor, load_noise, noise_floor, save_noise
from tasks.gate.plan import GatePlan, RunCost, plan
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import Scores, from_log
from tasks.gate.spending import Look, look_at


def plan_run(
    workspace: Workspace, policy: GatePolicy, champion: EvalLog, *, number: int | None = None
) -> GatePlan:
    """Say what comparing a challenger with this evaluation can find, and what it will cost.

    Args:
        workspace: settings and state.
        policy: the rules.
        champion: evaluation of the live release.
        number: as if it were this look; None: the next one in the ledger.
    """
    scores = from_log(champion)
    look = next_look(workspace, policy, scores)
    if number is not None:
        look = look_at(policy.spending, alpha=policy.alpha, number=number)
    return plan(
        policy,
        scores,
        look=look,
        pilot=_pilot(workspace, scores),
        cost=_cost(workspace, champion),
    )


def next_look(workspace: Workspace, policy: GatePolicy, scores: Scores) -> Look | None:
    """The look that the next comparison on this suite will be; nothing is spent."""
    if policy.mode == "refresh" or not scores.suite_digest or not scores.judge_digest:
        return None
    with workspace.registry() as registry:
        budget = registry.budget(
            scores.suite_digest, scores.judge_digest, rule=policy.spending, alpha=policy.alpha
        )
    return look_at(
        policy.spending,
        alpha=policy.alpha,
        number=len(budget.looks) + 1,
        promotions=[spent.look.number for spent in budget.looks if spent.verdict == "PROMOTE"],
        spent_before=budget.spent,
    )


def noise_of(workspace: Workspace, scores: Scores) -> NoiseFloor | None:
    """The noise that was measured on this suite with this judge."""
    return load_noise(_noise_path(workspace, scores.suite_digest, scores.judge_digest))


def measure_noise(
    workspace: Workspace,
    policy: GatePolicy,
    release: Release,
    evaluation: EvalLog,
    progress: Progress,
) -> NoiseFloor:
    """Evaluate a release against itself and keep how far the two differ.

    Args:
        workspace: settings and state.
        policy: how many cases, and which measures have a vote.
        release: the champion.
        evaluation: of it.
        progress: told what is done.
    """
    first = from_log(evaluation)
    suite = Suite(evaluation.manifest.suite_name, evaluation.cases)
    chosen = draw(suite, policy.noise.cases or len(suite.cases), seed=policy.seed)
    again = ask_again(
        workspace,
        release,
        chosen,
        repeat=1,
        measures=policy.named("primary", "guardrail"),
        progress=progress,
    )
    found = noise_floor(_only(first, chosen), _as_of(from_log(again), first), policy)
    save_noise(found, _noise_path(workspace, first.suite_digest, first.judge_digest))
    return found


def confirm_lost(
    workspace: Workspace,
    policy: GatePolicy,
    release: Release,
    champion: EvalLog,
    challenger: EvalLog,
    progress: Progress,
) -> Confirmations:
    """Ask the challenger again about the must-pass cases that it lost."""
    rule = policy.must_pass
    lost = lost_cases(from_log(champion), from_log(challenger), policy)
    if rule is None or not lost:
        return {}
    values: dict[str, list[float | None]] = {case: [] for case in lost}
    for repeat in range(1, rule.confirm + 1):
        log = ask_again(
            workspace, release, lost, repeat=repeat, measures=[rule.measure], progress=progress
        )
        found = log.values(rule.measure)
        for case in lost:
            values[case].append(found.get(case))
    return values


def anchor_scores(workspace: Workspace, challenger: Scores) -> Scores | None:
    """Scores of the anchor release on the challenger's suite, where it was evaluated on it."""
    with workspace.registry() as registry:
        anchor = registry.anchor()
        events = registry.history() if anchor else []
    for event in reversed(events):
        mine = event.kind == "evaluated" and anchor and event.detail["release"] == anchor.digest
        directory = workspace.home.path("evals", event.subject)
        if not mine or event.detail["suite"] != challenger.suite_digest or not directory.is_dir():
            continue
        scores = from_log(load_log(directory))
        if scores.judge_digest == challenger.judge_digest:
            return scores
    return None


def stored_decisions(workspace: Workspace) -> Iterator[GateDecision]:
    """Every decision that can be read, the newest first."""
    room = workspace.home.room("decisions")
    found = sorted(room.glob("[!.]*/decision.json"), key=_changed_at, reverse=True)
    for path in found:
        try:
            yield load_decision(path.parent)
        except CorruptArtifact:
            # It is named where it is needed; here any other will do.
            continue


def _pilot(workspace: Workspace, scores: Scores) -> tuple[Scores, Scores] | None:
    """The newest comparison on the same suite by the same judge; a refresh hardly differs."""
    wanted = (scores.suite_digest, scores.judge_digest)
    for decision in stored_decisions(workspace):
        logs = (decision.champion_log, decision.challenger_log)
        same = (decision.suite_digest, decision.judge_digest) == wanted
        if not same or None in logs or decision.policy.mode == "refresh":
            continue
        paths = [workspace.home.path("evals", str(log)) for log in logs]
        if all(path.is_dir() for path in paths):
            old, new = (from_log(load_log(path)) for path in paths)
            return old, new
    return None


def _cost(workspace: Workspace, champion: EvalLog) -> RunCost | None:
    """Calls of this evaluation, at the tokens, speed and price of those that were really made.

    Answers from the cache cost nothing, so an evaluation that reused them says little: the rates
    are those of the stored evaluation by the same model that made the most calls.
    """
    own = champion.manifest
    calls = sum(row.calls for row in own.costs.values())
    measured = [
        manifest for manifest in _manifests(workspace) if manifest.model_digest == own.model_digest
    ]
    best = max([own, *measured], key=_made)
    if not calls or not _made(best):
        return None
    share = calls / _made(best)
    rows = best.costs.values()
    spent = math.fsum(row.cost for row in rows)
    return RunCost(
        calls=calls,
        input_tokens=round(share * sum(row.input_tokens for row in rows)),
        output_tokens=round(share * sum(row.output_tokens for row in rows)),
        minutes=best.wall_s * share / 60,
        cost=spent * share,
        currency=best.currency,
    )


def _manifests(workspace: Workspace) -> Iterator[EvalManifest]:
    """Of every stored evaluation; its rows aren't read, they grow with every night."""
    for path in sorted(workspace.home.room("evals").glob("[!.]*/manifest.json")):
        try:
            yield load_manifest(path.parent)
        except (OSError, ValueError):
            continue


def _made(manifest: EvalManifest) -> int:
    """Calls that a model really answered."""
    return sum(row.calls - row.cache_hits for row in manifest.costs.values())


def _only(scores: Scores, cases: tuple[str, ...]) -> Scores:
    kept = set(cases)
    return replace(
        scores,
        cases=tuple(case for case in scores.cases if case.case_id in kept),
        rows=tuple(row for row in scores.rows if row.case_id in kept),
    )


def _as_of(scores: Scores, other: Scores) -> Scores:
    """A part of the suite, named as the whole that it was drawn from."""
    return replace(scores, suite_digest=other.suite_digest, judge_digest=other.judge_digest)


def _noise_path(workspace: Workspace, suite: Digest | None, judge: Digest | None) -> Path:
    return workspace.home.room("noise") / f"{digest('noise', 1, [suite, judge])}.json"


def _changed_at(path: Path) -> float:
    return path.stat().st_mtime
