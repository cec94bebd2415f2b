"""The nightly run: re-index what changed, evaluate what is wanted, promote it if it is better."""

from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import Completed
from pydantic import Field

from flows.evaluate import evaluate_one
from flows.events import announce, announce_move
from flows.outcome import Outcome, Word
from flows.policies import PROMOTION, asking_models, one_at_a_time, step
from flows.reindex import build_wanted_index, compare_indexes, report_reindex, take_snapshot
from flows.run_name import rename_run
from flows.show_in_mlflow import show_in_mlflow
from flows.steps.committed import require_committed
from flows.steps.compare import compare_answers
from flows.steps.decide import (
    DecisionRef,
    decide_stored,
    load_evaluation,
    policy_for,
    promote_decided,
    record_decision,
)
from flows.steps.evaluate import check, plan_release
from flows.steps.gate import confirm_lost, measure_noise, noise_of, plan_run
from flows.steps.index import IndexRef, wanted_release
from flows.steps.judge import refresh_anchor
from flows.steps.latency import one_server_for_two, probe_releases
from flows.workspace import Workspace, actor, open_workspace
from registry import PRODUCTION, Move
from tasks.answer.release import Release
from tasks.digest import SHORT, Digest
from tasks.evaluate.pairwise import Preferences
from tasks.gate.attribution import PartEffect, attribute
from tasks.gate.calibration import drift_words, load_calibration
from tasks.gate.decision import GateDecision
from tasks.gate.judged import voting_judged
from tasks.gate.must_pass import Confirmations
from tasks.gate.policy import PREFERENCE, GatePolicy
from tasks.gate.retrieval import RetrievalTest
from tasks.gate.scores import from_log
from tasks.report.plan import plan_lines
from tasks.serve.latency import LatencyReport


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
    confirmations: Confirmations = {}
    preferences: Preferences | None = None
    effects: tuple[PartEffect, ...] = ()
    if live is not None and champion is not None:
        confirmations = confirm(workspace, policy, wanted, champion, challenger)
        preferences = prefer_answers(workspace, policy, champion, challenger)
        effects = attribute_changes(workspace, policy, live, wanted, champion)
    retrieval = tests.tests if tests else ()
    latency = probe_latency(workspace, live, wanted)
    decision = decide(
        workspace,
        policy,
        wanted,
        champion,
        challenger,
        confirmations,
        preferences,
        effects,
        retrieval,
        index,
        latency,
    )
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


@step("plan")
def plan_comparison(workspace: Workspace, policy: GatePolicy, champion: Digest) -> tuple[str, ...]:
    """Say what this run can find and what it costs; reasons not to make it, if there are any."""
    planned = plan_run(workspace, policy, load_evaluation(workspace, champion))
    for line in plan_lines(planned):
        get_run_logger().info(line)
    return planned.hopeless


@step("measure the noise")
def refresh_noise(
    workspace: Workspace, policy: GatePolicy, live: Release, champion: Digest
) -> None:
    """Evaluate the champion against itself, where the policy wants it and nobody has."""
    log = load_evaluation(workspace, champion)
    if not policy.noise.refresh or noise_of(workspace, from_log(log)) is not None:
        return
    with asking_models(workspace, "noise") as progress:
        noise = measure_noise(workspace, policy, live, log, progress)
    for name, found in noise.measures.items():
        get_run_logger().info("%s: %d of %d cases differ", name, found.changed, found.n)


@step("ask the judge again")
def recheck_judge(workspace: Workspace, policy: GatePolicy, champion: Digest) -> None:
    """Judge the frozen answers again: every night where the policy says so, and a new judge."""
    judge = load_evaluation(workspace, champion).manifest.judge_digest
    known = load_calibration(workspace.home, judge) is not None
    if not voting_judged(policy) or (known and not policy.judge.recheck):
        return
    with asking_models(workspace, "judge") as progress:
        drift = refresh_anchor(workspace, progress)
    for line in drift_words(drift):
        get_run_logger().warning("the judge has no vote: %s", line)


@step("ask lost must-pass cases again")
def confirm(
    workspace: Workspace, policy: GatePolicy, wanted: Release, champion: Digest, challenger: Digest
) -> Confirmations:
    """A case that must pass and was lost may have been bad luck: ask it again."""
    old, new = (load_evaluation(workspace, digest) for digest in (champion, challenger))
    with asking_models(workspace, "confirm") as progress:
        return confirm_lost(workspace, policy, wanted, old, new, progress)


@step("compare the answers")
def prefer_answers(
    workspace: Workspace, policy: GatePolicy, champion: Digest, challenger: Digest
) -> Preferences | None:
    """Ask the judge which answers it prefers, where the policy wants to know."""
    if PREFERENCE not in policy.measures:
        return None
    with asking_models(workspace, "compare") as progress:
        return compare_answers(workspace, champion, challenger, progress)


@step("time the answers")
def probe_latency(
    workspace: Workspace, live: Release | None, wanted: Release
) -> LatencyReport | None:
    """Time both sides' answers at a stated rate, where configs/evaluate.yaml wants it."""
    settings = workspace.project.evaluate.latency
    if settings is None:
        return None
    sides = {"champion": live} if live is not None else {}
    sides["challenger"] = wanted
    if one_server_for_two(workspace, sides):
        get_run_logger().warning(
            "latency: not measured, as one server can't serve two models in one schedule; give the "
            "models base_urls in configs/models.yaml"
        )
        return None
    with asking_models(workspace, "latency") as progress:
        return probe_releases(workspace, sides, settings, progress)


@step("evaluate the single changes")
def attribute_changes(
    workspace: Workspace, policy: GatePolicy, live: Release, wanted: Release, champion: Digest
) -> tuple[PartEffect, ...]:
    """What each change does by itself, where the policy wants it and there are several."""
    parts = wanted.differences(live)
    if not policy.attribution or len(parts) < 2:
        return ()
    singles = {}
    for part in parts:
        single = live.with_part(part, wanted)
        with workspace.registry() as registry:
            registry.register(single, who=actor(), why=f"{live.label} with only another {part}")
        singles[part] = from_log(
            load_evaluation(workspace, evaluate_one(workspace, single, f"{part}-alone"))
        )
    effects = attribute(from_log(load_evaluation(workspace, champion)), singles, policy)
    for effect in effects:
        get_run_logger().info("%s alone: %s", effect.part, effect.effect)
    return effects


@step("decide")
def decide(
    workspace: Workspace,
    policy: GatePolicy,
    wanted: Release,
    champion: Digest | None,
    challenger: Digest,
    confirmations: Confirmations,
    preferences: Preferences | None,
    effects: tuple[PartEffect, ...],
    retrieval: tuple[RetrievalTest, ...],
    index: IndexRef,
    latency: LatencyReport | None = None,
) -> DecisionRef:
    """Run the gate, record what it says, and show the report in Prefect."""
    ref, decision = decide_stored(
        workspace,
        policy,
        champion,
        challenger,
        spend=True,
        confirmations=confirmations,
        preferences=preferences,
        attribution=effects,
        retrieval=retrieval,
        index=index,
        latency=latency,
    )
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
