"""Stored evaluations -> stored decision with its reports -> the champion, moved or left."""

from dataclasses import dataclass, field
from pathlib import Path

from flows.steps.gate import anchor_scores, noise_of
from flows.steps.index import IndexRef
from flows.steps.label import labels_of_pair
from flows.workspace import Workspace, actor
from registry import PRODUCTION, LookId, Move, SpentLook
from tasks.answer.release import Release
from tasks.digest import SHORT, Digest, digest
from tasks.evaluate.log import EvalLog, load_log
from tasks.evaluate.pairwise import Preferences
from tasks.gate.attribution import PartEffect
from tasks.gate.calibration import load_calibration
from tasks.gate.decide import GateContext, decide, worth_a_look
from tasks.gate.decision import GateDecision, load_decision, save_decision
from tasks.gate.judged import Labels, voting_judged
from tasks.gate.must_pass import Confirmations
from tasks.gate.policy import GatePolicy, load_policy
from tasks.gate.preference import with_preferences
from tasks.gate.retrieval import RetrievalTest
from tasks.gate.scores import Scores, from_log
from tasks.gate.spending import Look
from tasks.report.html import decision_page
from tasks.report.markdown import decision_markdown
from tasks.serve.latency import LATENCY_FILE, LatencyReport
from tasks.store import write_atomic, write_json


@dataclass(frozen=True, slots=True)
class DecisionRef:
    """A stored decision with its report."""

    digest: Digest
    verdict: str
    reasons: tuple[str, ...]
    directory: Path
    suite: Digest | None
    """The cases that it was made on."""
    policy: Digest
    """The rules that it was made by."""

    @property
    def page(self) -> Path:
        """The HTML report."""
        return self.directory / "report.html"

    @property
    def markdown(self) -> Path:
        """The same, shorter, for Prefect."""
        return self.directory / "report.md"


@dataclass(frozen=True, slots=True)
class SupportingEvidence:
    """What a night found beside the two evaluations.

    Attributes:
        confirmations: what lost must-pass cases got when they were asked again.
        preferences: which answers a judge prefers.
        attribution: what each of several changes does by itself, for the report.
        retrieval: old and new index compared, for the report.
        index: what changed in the corpus, for the report.
        latency: how long both sides' answers took, for the report; kept beside the decision.
    """

    confirmations: Confirmations = field(default_factory=dict)
    preferences: Preferences | None = None
    attribution: tuple[PartEffect, ...] = ()
    retrieval: tuple[RetrievalTest, ...] = ()
    index: IndexRef | None = None
    latency: LatencyReport | None = None


def policy_for(workspace: Workspace, champion: Release | None, challenger: Release) -> GatePolicy:
    """The rules of this comparison: newer documents alone must do no harm, all else must improve.

    Where the policy names a measure under `cheaper`, a release that is only served otherwise has to
    improve that one, and no other.

    Raises:
        ConfigError: configs/gate.yaml is wrong.
    """
    policy = load_policy(workspace.project.gate_policy)
    if champion is not None and challenger.refreshes(champion):
        return policy.for_refresh()
    if champion is not None and challenger.serves_otherwise(champion):
        return policy.for_cheaper()
    return policy


def decide_stored(
    workspace: Workspace,
    policy: GatePolicy,
    champion: Digest | None,
    challenger: Digest,
    evidence: SupportingEvidence | None = None,
    *,
    spend: bool = False,
) -> tuple[DecisionRef, GateDecision]:
    """Run the gate on two stored evaluations and write the decision with its reports.

    Args:
        workspace: settings and state.
        policy: the rules.
        champion: digest of the champion's evaluation; None when there is no champion.
        challenger: digest of the challenger's evaluation.
        evidence: what was found beside the evaluations.
        spend: take the look from the registry's ledger, as a decision that may promote must; the
            same evidence gets the decision that it got before. Otherwise it counts as look 1.
    """
    evidence = evidence or SupportingEvidence()
    new = load_evaluation(workspace, challenger)
    old = load_evaluation(workspace, champion) if champion else None
    scores, baseline = from_log(new), from_log(old) if old else None
    if baseline and evidence.preferences:
        baseline, scores = with_preferences(baseline, scores, evidence.preferences)
    labels = labels_of_pair(workspace, old, new) if old and voting_judged(policy) else None
    decision = _decide(workspace, policy, baseline, scores, labels, evidence, spend=spend)
    directory = save_decision(decision, baseline, scores, room=workspace.home.room("decisions"))
    ref = DecisionRef(
        digest=decision.digest,
        verdict=decision.verdict,
        reasons=tuple(reason.text for reason in decision.reasons),
        directory=directory,
        suite=decision.suite_digest,
        policy=decision.policy_digest,
    )
    index = evidence.index
    changed = index if index is not None and (index.embedded or index.removed) else None
    page = decision_page(
        decision,
        old,
        new,
        retrieval=evidence.retrieval or None,
        index=changed,
        attribution=evidence.attribution,
        latency=evidence.latency,
    )
    if evidence.latency is not None:
        write_json(directory / LATENCY_FILE, evidence.latency.model_dump(mode="json"))
    write_atomic(ref.page, page)
    write_atomic(
        ref.markdown,
        decision_markdown(
            decision,
            old,
            new,
            page=str(ref.page),
            attribution=evidence.attribution,
            latency=evidence.latency,
        ),
    )
    return ref, decision


def _decide(
    workspace: Workspace,
    policy: GatePolicy,
    champion: Scores | None,
    challenger: Scores,
    labels: Labels | None,
    evidence: SupportingEvidence,
    *,
    spend: bool,
) -> GateDecision:
    look: int | Look | None = 1
    context: GateContext = {}
    if champion is not None:
        context = {
            "anchor": anchor_scores(workspace, challenger),
            "noise": noise_of(workspace, challenger),
            "calibration": load_calibration(workspace.home, _named(challenger.judge_digest)),
            "labels": labels,
        }
        if spend and policy.mode == "improve":
            look = None
            if worth_a_look(champion, challenger, policy, **context):
                spent = _spend(workspace, policy, champion, challenger, context)
                if spent.decision and (known := _known(workspace, spent.decision)):
                    return known
                look = spent.look
    return decide(
        champion,
        challenger,
        policy,
        look=look,
        confirmations=evidence.confirmations,
        preferences=evidence.preferences,
        **context,
    )


def _spend(
    workspace: Workspace,
    policy: GatePolicy,
    champion: Scores,
    challenger: Scores,
    context: GateContext,
) -> SpentLook:
    with workspace.registry() as registry:
        return registry.spend_look(
            suite=_named(challenger.suite_digest),
            judge=_named(challenger.judge_digest),
            policy_digest=policy.digest,
            challenger=_named(challenger.release_digest),
            champion=champion.release_digest,
            challenger_log=_named(challenger.log_digest),
            champion_log=champion.log_digest,
            context=_context_digest(context),
            rule=policy.spending,
            alpha=policy.alpha,
            who=actor(),
        )


def _context_digest(context: GateContext) -> Digest:
    """What else a decision rests on: with another noise floor or more labels it is another one."""
    labels = context.get("labels") or {}
    parts = [context.get(name) for name in ("anchor", "noise", "calibration")]
    return digest(
        "gate-context",
        1,
        {
            "known": [part.digest if part is not None else None for part in parts],  # type: ignore[attr-defined]
            "labels": {name: dict(found.differences) for name, found in labels.items()},
        },
    )


def _known(workspace: Workspace, decision: Digest) -> GateDecision | None:
    directory = workspace.home.path("decisions", decision)
    return load_decision(directory) if directory.is_dir() else None


def _named(found: Digest | None) -> Digest:
    if found is None:
        raise ValueError("an evaluation names its release, suite and judge")
    return found


def record_decision(workspace: Workspace, decision: GateDecision, ref: DecisionRef) -> None:
    """Write a decision into the ledger; again is the same as once."""
    look = None
    if decision.look is not None and decision.look.recorded:
        look = LookId(
            _named(decision.suite_digest), _named(decision.judge_digest), decision.look.number
        )
    commit, dirty = _code_of(workspace, decision)
    with workspace.registry() as registry:
        registry.record_decision(
            decision.digest,
            verdict=decision.verdict,
            challenger=_named(decision.challenger_release),
            champion=decision.champion_release,
            who=actor(),
            why=" ".join(ref.reasons)[:500],
            look=look,
            suite=decision.suite_digest,
            policy=decision.policy_digest,
            git_commit=commit,
            git_dirty=dirty,
        )


def _code_of(workspace: Workspace, decision: GateDecision) -> tuple[str | None, bool | None]:
    """Commit that evaluated the challenger, and whether either side ran on changed files."""
    logs = [name for name in (decision.challenger_log, decision.champion_log) if name]
    manifests = [load_evaluation(workspace, name).manifest for name in logs]
    if not manifests:
        return None, None
    dirty = [manifest.git_dirty for manifest in manifests]
    return manifests[0].git_commit, True if True in dirty else None if None in dirty else False


def promote_decided(
    workspace: Workspace, decision: DecisionRef, release: Release, champion: Release | None
) -> Move:
    """Make the challenger of a decision PROMOTE the champion, if the champion is still the same.

    Where releases go to production only from staging, it goes to staging.

    Raises:
        PromotionConflict: it isn't.
        RegistryError: the decision isn't PROMOTE for exactly this pair.
    """
    staged = workspace.project.services.registry.production_from_staging
    with workspace.registry() as registry:
        live = champion.digest if champion else None
        move = registry.promote(
            release.digest,
            expected_champion=registry.channel_digest("staging") if staged else live,
            decision_digest=decision.digest,
            who=actor(),
            why=f"decision {decision.digest[:SHORT]}: {decision.reasons[0]}",
            channel="staging" if staged else PRODUCTION,
            suite=decision.suite,
            policy=decision.policy,
        )
        workspace.write_champion_file(registry)
    return move


def load_evaluation(workspace: Workspace, digest: Digest) -> EvalLog:
    """A stored evaluation.

    Raises:
        CorruptArtifact: it can't be read.
    """
    return load_log(workspace.home.path("evals", digest))
