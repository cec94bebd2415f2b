"""Stored evaluations -> stored decision with its reports -> the champion, moved or left."""

from dataclasses import dataclass
from pathlib import Path

from flows.steps.index import IndexRef
from flows.workspace import Workspace, actor
from registry import Move
from tasks.answer.release import Release
from tasks.digest import SHORT, Digest
from tasks.evaluate.log import EvalLog, load_log
from tasks.evaluate.retrieval import RetrievalChange
from tasks.gate.decide import decide
from tasks.gate.decision import GateDecision, save_decision
from tasks.gate.policy import GatePolicy, load_policy
from tasks.gate.scores import from_log
from tasks.report.html import decision_page
from tasks.report.markdown import decision_markdown
from tasks.store import write_atomic


@dataclass(frozen=True, slots=True)
class DecisionRef:
    """A stored decision with its report."""

    digest: Digest
    verdict: str
    reasons: tuple[str, ...]
    directory: Path

    @property
    def page(self) -> Path:
        """The HTML report."""
        return self.directory / "report.html"

    @property
    def markdown(self) -> Path:
        """The same, shorter, for Prefect."""
        return self.directory / "report.md"


def policy_for(workspace: Workspace, champion: Release | None, challenger: Release) -> GatePolicy:
    """The rules of this comparison: newer documents alone must do no harm, all else must improve.

    Raises:
        ConfigError: configs/gate.yaml is wrong.
    """
    policy = load_policy(workspace.project.gate_policy)
    if champion is not None and challenger.refreshes(champion):
        return policy.for_refresh()
    return policy


def decide_stored(
    workspace: Workspace,
    policy: GatePolicy,
    champion: Digest | None,
    challenger: Digest,
    *,
    retrieval: tuple[RetrievalChange, ...] = (),
    index: IndexRef | None = None,
) -> tuple[DecisionRef, GateDecision]:
    """Run the gate on two stored evaluations and write the decision with its reports.

    Args:
        workspace: settings and state.
        policy: the rules.
        champion: digest of the champion's evaluation; None when there is no champion.
        challenger: digest of the challenger's evaluation.
        retrieval: old and new index compared, for the report.
        index: what changed in the corpus, for the report.
    """
    new = load_evaluation(workspace, challenger)
    old = load_evaluation(workspace, champion) if champion else None
    scores, baseline = from_log(new), from_log(old) if old else None
    decision = decide(baseline, scores, policy)
    directory = save_decision(decision, baseline, scores, room=workspace.home.room("decisions"))
    ref = DecisionRef(
        digest=decision.digest,
        verdict=decision.verdict,
        reasons=tuple(reason.text for reason in decision.reasons),
        directory=directory,
    )
    changed = index if index is not None and (index.embedded or index.removed) else None
    page = decision_page(decision, old, new, retrieval=retrieval or None, index=changed)
    write_atomic(ref.page, page)
    write_atomic(ref.markdown, decision_markdown(decision, old, new, page=str(ref.page)))
    return ref, decision


def record_decision(workspace: Workspace, decision: GateDecision, ref: DecisionRef) -> None:
    """Write a decision into the ledger; again is the same as once."""
    if decision.challenger_release is None:
        raise ValueError("a decision without a release digest can't be recorded")
    with workspace.registry() as registry:
        registry.record_decision(
            decision.digest,
            verdict=decision.verdict,
            challenger=decision.challenger_release,
            champion=decision.champion_release,
            who=actor(),
            why=" ".join(ref.reasons)[:500],
        )


def promote_decided(
    workspace: Workspace, decision: DecisionRef, release: Release, champion: Release | None
) -> Move:
    """Make the challenger of a decision PROMOTE the champion, if the champion is still the same.

    Raises:
        PromotionConflict: it isn't.
        RegistryError: the decision isn't PROMOTE for exactly this pair.
    """
    with workspace.registry() as registry:
        return registry.promote(
            release.digest,
            expected_champion=champion.digest if champion else None,
            decision_digest=decision.digest,
            who=actor(),
            why=f"decision {decision.digest[:SHORT]}: {decision.reasons[0]}",
        )


def load_evaluation(workspace: Workspace, digest: Digest) -> EvalLog:
    """A stored evaluation.

    Raises:
        CorruptArtifact: it can't be read.
    """
    return load_log(workspace.home.path("evals", digest))
