"""The nightly run: re-index what changed, evaluate what is wanted, promote it if it is better."""

from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import Completed
from pydantic import Field

from flows.evaluate import evaluate_one
from flows.outcome import STATE_NAMES, Outcome, Word
from flows.policies import PROMOTION, one_at_a_time, step
from flows.reindex import build_wanted_index, take_snapshot
from flows.run_name import rename_run
from flows.show import run_progress
from flows.steps.decide import (
    DecisionRef,
    decide_stored,
    policy_for,
    promote_decided,
    record_decision,
)
from flows.steps.evaluate import check, plan_release, test_retrieval
from flows.steps.index import IndexRef, wanted_release
from flows.steps.track import track
from flows.workspace import Workspace, actor, open_workspace
from tasks.answer.release import Release
from tasks.digest import SHORT, Digest
from tasks.errors import ServerUnavailable
from tasks.evaluate.retrieval import RetrievalChange
from tasks.gate.decision import GateDecision


@flow(name="nightly", log_prints=True)
def nightly(
    release: str = "configs/release.yaml",
    prompt: str | None = None,
    top_k: Annotated[int | None, Field(gt=0, le=100)] = None,
    cases: Annotated[int | None, Field(gt=0)] = None,
    promote: bool = True,
) -> Any:
    """Judge the wanted release against the live one, case by case.

    The champion moves only when the gate finds the evidence; everything else leaves it untouched.
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
    rename_run(f"nightly {STATE_NAMES[outcome.verdict].lower()}: {outcome.release}")
    return Completed(name=STATE_NAMES[outcome.verdict], message=outcome.message, data=outcome)


def run_nightly(workspace: Workspace, *, promote: bool) -> Outcome:
    """The steps, in their order."""
    with workspace.registry() as registry:
        live = registry.champion()
    snapshot = take_snapshot(workspace)
    wanted = wanted_release(workspace, snapshot.digest)
    # A wrong policy, suite, prompt or measure must be found before anything is embedded or asked.
    policy_for(workspace, live, wanted)
    plan_release(workspace, wanted)
    index = build_wanted_index(workspace, wanted)
    if live is not None and live.digest == wanted.digest:
        show_in_mlflow(workspace)
        return Outcome(
            verdict="UNCHANGED",
            release=wanted.label,
            message=f"{wanted.label} is wanted and live: nothing changed, nothing to do.",
        )
    register_challenger(workspace, wanted)
    if rolled_back := rolled_back_from(workspace, wanted):
        return Outcome(verdict="HOLD", release=wanted.label, message=rolled_back)
    retrieval = compare_indexes(workspace, live, wanted)
    challenger = evaluate_one(workspace, wanted, "challenger")
    champion = evaluate_one(workspace, live, "champion") if live is not None else None
    decision = decide(workspace, live, wanted, champion, challenger, retrieval, index)
    show_in_mlflow(workspace)
    promoted = False
    if decision.verdict == "PROMOTE" and promote:
        promoted = move_champion(workspace, decision, wanted, live)
    return _outcome(wanted, decision, index, promoted=promoted)


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


@step("test retrieval on old and new index")
def compare_indexes(
    workspace: Workspace, live: Release | None, wanted: Release
) -> tuple[RetrievalChange, ...]:
    """Search all questions in both indexes; nothing when there is only one."""
    if live is None or "index" not in wanted.differences(live):
        return ()
    with run_progress("retrieval") as progress:
        changes = test_retrieval(workspace, live, wanted, progress)
    for row in changes:
        get_run_logger().info("%s: %.3f -> %.3f (n=%d)", row.measure, row.old, row.new, row.n)
    return changes


@step("decide")
def decide(
    workspace: Workspace,
    live: Release | None,
    wanted: Release,
    champion: Digest | None,
    challenger: Digest,
    retrieval: tuple[RetrievalChange, ...],
    index: IndexRef,
) -> DecisionRef:
    """Run the gate, record what it says, and show the report in Prefect."""
    ref, decision = decide_stored(
        workspace,
        policy_for(workspace, live, wanted),
        champion,
        challenger,
        retrieval=retrieval,
        index=index,
    )
    record_decision(workspace, decision, ref)
    create_markdown_artifact(
        ref.markdown.read_text(encoding="utf-8"),
        key="decision",
        description=f"{ref.verdict}: {wanted.label}",
    )
    show_measures(decision)
    return ref


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


@step("show in MLflow")
def show_in_mlflow(workspace: Workspace) -> None:
    """Log what MLflow doesn't have; when it is down, the next run does it and nothing is lost."""
    try:
        shown = track(workspace)
    except ServerUnavailable as error:
        get_run_logger().warning(
            "%s The evaluation is stored; the next run logs it.", error.message
        )
        return
    for digest, reason in shown.left.items():
        get_run_logger().warning("evaluation %s isn't in MLflow: %s", digest, reason)


@step("promote")
def move_champion(
    workspace: Workspace, decision: DecisionRef, wanted: Release, live: Release | None
) -> bool:
    """Make the challenger the champion; one promotion at a time."""
    with one_at_a_time(PROMOTION, workspace.home):
        move = promote_decided(workspace, decision, wanted, live)
    get_run_logger().info(move.message)
    return move.changed


def _outcome(wanted: Release, decision: DecisionRef, index: IndexRef, *, promoted: bool) -> Outcome:
    verdict: Word = decision.verdict  # type: ignore[assignment]
    return Outcome(
        verdict=verdict,
        release=wanted.label,
        message=f"{wanted.label}: {decision.reasons[0]}",
        promoted=promoted,
        reasons=decision.reasons,
        embedded=index.embedded,
        changed_documents=len(index.added) + len(index.changed) + len(index.removed),
        decision=decision.digest,
        page=decision.page,
    )
