"""The nightly run: re-index what changed, evaluate what is wanted, promote it if it is better."""

from dataclasses import replace
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import Completed
from pydantic import Field

from flows.evaluate import evaluate_one
from flows.events import announce, announce_move
from flows.outcome import Outcome, Word
from flows.policies import PROMOTION, one_at_a_time, step
from flows.reindex import build_wanted_index, compare_indexes, report_reindex, take_snapshot
from flows.run_name import rename_run
from flows.show_in_mlflow import show_in_mlflow
from flows.steps.committed import require_committed
from flows.steps.decide import (
    DecisionRef,
    SupportingEvidence,
    decide_stored,
    policy_for,
    promote_decided,
    record_decision,
)
from flows.steps.evaluate import check, plan_release
from flows.steps.index import IndexRef, wanted_release
from flows.supporting_evidence import (
    attribute_changes,
    confirm,
    plan_comparison,
    prefer_answers,
    probe_latency,
    recheck_judge,
    refresh_noise,
)
from flows.workspace import Workspace, actor, open_workspace
from registry import PRODUCTION, Move
from tasks.answer.release import Release
from tasks.digest import SHORT, Digest
from tasks.gate.decision import GateDecision
from tasks.gate.policy import GatePolicy


@flow(name="nightly", log_prints=True)
def nightly(
    release: str = "configs/release.yaml",
    prompt: str | None = None,
    top_k: Annotated[int | None, Field(gt=0, le=100)] = None,
    cases: Annotated[int | None, Field(gt=0)] = None,
    promote: bool = True,
) -> Any:
    """Judge the wanted release against the live one, case by case.

    Where production takes only what staging runs, PROMOTE brings the release to staging. The
    champion moves only when the gate finds the evidence; everything else leaves it untouched.
    Killed anywhere, the next run continues from what is stored.

    Args:
        release: Release file, relative to the project.
        prompt: Another prompt of configs/prompts/, without .yaml.
        top_k: Another number of retrieved passages.
        cases: Evaluate only so many cases, for a quick look.
        promote: Move the champion when the gate says PROMOTE.
    """
    workspace = open_workspace(release=release, prompt=prompt, top_k=top_k, cases=cases)
    outcome = run_nightly(workspace, promote=promote)
    rename_run(f"nightly {outcome.state_name.lower()}: {outcome.release}")
    return Completed(name=outcome.state_name, message=outcome.message, data=outcome)


def run_nightly(workspace: Workspace, *, promote: bool) -> Outcome:
    """The steps, in their order."""
    with workspace.registry() as registry:
        live = registry.champion()
    snapshot = take_snapshot(workspace)
    wanted = wanted_release(workspace, snapshot.digest)
    # A wrong policy, suite, prompt or measure must be found before anything is embedded or asked.
    policy = policy_for(workspace, live, wanted)
    plan_release(workspace, wanted)
    index = build_wanted_index(workspace, wanted)
    if live is not None and live.digest == wanted.digest:
        show_in_mlflow(workspace)
        return Outcome(
            verdict="UNCHANGED",
            release=wanted.label,
            message=f"{wanted.label} is wanted and live: nothing changed, nothing to do.",
        )
    if promote:
        require_committed(workspace)
    tests = compare_indexes(workspace, live, wanted)
    index = report_reindex(workspace, live, index, tests)
    if index.refused:
        show_in_mlflow(workspace)
        announce("held", wanted, why=" ".join(index.refused))
        return _refused(wanted, index)
    register_challenger(workspace, wanted)
    if rolled_back := rolled_back_from(workspace, wanted):
        announce("held", wanted, why=rolled_back)
        return Outcome(verdict="HOLD", release=wanted.label, message=rolled_back)
    # A challenger that may turn out to be hopeless isn't paid for before that is known.
    beside = () if policy.underpowered == "hold" else (wanted,)
    champion = evaluate_one(workspace, live, "champion", beside) if live is not None else None
    if champion is not None and (hopeless := plan_comparison(workspace, policy, champion)):
        show_in_mlflow(workspace)
        announce("held", wanted, why=" ".join(hopeless))
        return Outcome(verdict="HOLD", release=wanted.label, message=hopeless[0], reasons=hopeless)
    if live is not None and champion is not None:
        refresh_noise(workspace, policy, live, champion)
        recheck_judge(workspace, policy, champion)
    challenger = evaluate_one(workspace, wanted, "challenger")
    evidence = SupportingEvidence(retrieval=tests.tests if tests else (), index=index)
    if live is not None and champion is not None:
        evidence = replace(
            evidence,
            confirmations=confirm(workspace, policy, wanted, champion, challenger),
            preferences=prefer_answers(workspace, policy, champion, challenger),
            attribution=attribute_changes(workspace, policy, live, wanted, champion),
        )
    evidence = replace(evidence, latency=probe_latency(workspace, live, wanted))
    decision = decide(workspace, policy, wanted, champion, challenger, evidence)
    show_in_mlflow(workspace)
    move = None
    if decision.verdict == "PROMOTE" and promote:
        move = move_champion(workspace, decision, wanted, live)
        show_in_mlflow(workspace)
    return _outcome(wanted, decision, index, move)


@step("register the challenger")
def register_challenger(workspace: Workspace, wanted: Release) -> Digest:
    """Write the wanted release down and say what the suite makes of its corpus."""
    for line in check(workspace, wanted).lines():
        get_run_logger().warning("suite: %s", line)
    with workspace.registry() as registry:
        return registry.register(wanted, who=actor(), why="wanted by the configuration")


def rolled_back_from(workspace: Workspace, wanted: Release) -> str | None:
    """Why a release that was taken out of production isn't tried again by itself."""
    with workspace.registry() as registry:
        event = registry.last_rollback_from(wanted.digest)
    if event is None:
        return None
    return (
        f"{wanted.label} was rolled back on {event.at} ({event.why}): the nightly run doesn't undo "
        f"that. Change the release, or promote it by hand: ratchet promote {wanted.digest[:SHORT]}"
    )


@step("decide")
def decide(
    workspace: Workspace,
    policy: GatePolicy,
    wanted: Release,
    champion: Digest | None,
    challenger: Digest,
    evidence: SupportingEvidence,
) -> DecisionRef:
    """Run the gate, record what it says, and show the report in Prefect."""
    ref, decision = decide_stored(workspace, policy, champion, challenger, evidence, spend=True)
    record_decision(workspace, decision, ref)
    announce_verdict(ref, wanted)
    create_markdown_artifact(
        ref.markdown.read_text(encoding="utf-8"),
        key="decision",
        description=f"{ref.verdict}: {wanted.label}",
    )
    show_measures(decision)
    return ref


def announce_verdict(ref: DecisionRef, wanted: Release) -> None:
    """Tell automations that a challenger didn't make it; promotions are announced when done."""
    if ref.verdict != "PROMOTE":
        announce(
            "held" if ref.verdict == "HOLD" else "rejected",
            wanted,
            why=" ".join(ref.reasons),
            decision=ref.digest,
        )


def show_measures(decision: GateDecision) -> None:
    """The comparisons as a table that Prefect can sort."""
    rows = [
        {
            "measure": row.measure,
            "role": row.role,
            "champion": row.mean_champion,
            "challenger": row.mean_challenger,
            "wins": row.wins,
            "losses": row.losses,
            "p": row.p_value,
            "outcome": row.outcome,
        }
        for row in decision.comparisons
    ]
    if rows:
        create_table_artifact(rows, key="measures", description="Champion and challenger.")


@step("promote")
def move_champion(
    workspace: Workspace, decision: DecisionRef, wanted: Release, live: Release | None
) -> Move:
    """Make the challenger the champion, or bring it to staging; one promotion at a time."""
    with one_at_a_time(PROMOTION, workspace.home):
        move = promote_decided(workspace, decision, wanted, live)
    announce_move(workspace, move)
    get_run_logger().info(move.message)
    return move


def _refused(wanted: Release, index: IndexRef) -> Outcome:
    return Outcome(
        verdict="HOLD",
        release=wanted.label,
        message=f"{wanted.label}: {index.refused[0]}",
        reasons=index.refused,
        embedded=index.embedded,
        changed_documents=index.changed_documents,
        page=index.report,
    )


def _outcome(wanted: Release, decision: DecisionRef, index: IndexRef, move: Move | None) -> Outcome:
    verdict: Word = decision.verdict  # type: ignore[assignment]
    staged = move is not None and move.event.detail["channel"] != PRODUCTION
    message = f"{wanted.label}: {decision.reasons[0]}"
    if staged:
        # What people read first must not sound as if it were live.
        message = (
            f"{wanted.label}: on staging, not live: {decision.reasons[0]} To bring it to "
            f"production: ratchet promote {wanted.digest[:SHORT]} "
            f"--decision {decision.digest[:SHORT]} --why '...'"
        )
    return Outcome(
        verdict=verdict,
        release=wanted.label,
        message=message,
        promoted=move is not None and move.changed and not staged,
        staged=staged,
        reasons=decision.reasons,
        embedded=index.embedded,
        changed_documents=index.changed_documents,
        decision=decision.digest,
        page=decision.page,
    )
