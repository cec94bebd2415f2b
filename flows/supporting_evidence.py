"""What a night asks beside the two evaluations: each a step, and nothing where nobody wants it."""

from prefect import get_run_logger

from flows.evaluate import evaluate_one
from flows.policies import asking_models, step
from flows.steps.compare import compare_answers
from flows.steps.decide import load_evaluation
from flows.steps.gate import confirm_lost, measure_noise, noise_of, plan_run
from flows.steps.judge import refresh_anchor
from flows.steps.latency import one_server_for_two, probe_releases
from flows.workspace import Workspace, actor
from tasks.answer.release import Release
from tasks.digest import Digest
from tasks.evaluate.pairwise import Preferences
from tasks.gate.attribution import PartEffect, attribute
from tasks.gate.calibration import drift_words, load_calibration
from tasks.gate.judged import voting_judged
from tasks.gate.must_pass import Confirmations
from tasks.gate.policy import PREFERENCE, GatePolicy
from tasks.gate.scores import from_log
from tasks.report.plan import plan_lines
from tasks.serve.latency import LatencyReport


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
