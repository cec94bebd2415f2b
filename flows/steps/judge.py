"""Stored evaluations and labels -> a judge's calibration; the frozen answers -> asked again."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flows.endpoints import open_door
from flows.steps.evaluate import plan_release
from flows.steps.index import open_embedder
from flows.steps.label import label_scales, now, stored_draws, stored_labels
from flows.workspace import Workspace
from tasks.digest import Digest, text_digest
from tasks.errors import BadInput, CallFailed, CorruptArtifact
from tasks.evaluate.log import EvalLog, EvalManifest, load_log
from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import CaseResult, MeasureContext, Score
from tasks.evaluate.run import EvaluationPlan, Progress
from tasks.gate.calibration import (
    JudgeCalibration,
    JudgeRequirements,
    calibrate,
    load_calibration,
    save_calibration,
)
from tasks.gate.drift import (
    AskedAgain,
    DriftResult,
    FrozenAnswer,
    FrozenSet,
    drift,
    load_asked,
    load_frozen,
    save_asked,
    save_frozen,
)
from tasks.gate.judge_bias import PairwiseVerdict
from tasks.gate.labels import JudgedAnswer, LabelTable, judged_answers
from tasks.gate.policy import load_policy
from tasks.serve.label import calling

ROUNDS = 1_000_000
"""Numbers of rounds begin here: the cache may hold small repeats of the same request."""

Key = tuple[str, Digest]
"""A case and the digest of an answer to it."""


@dataclass(frozen=True)
class JudgedHere:
    """What one judge gave to the answers of one suite, as far as this machine knows."""

    judge_digest: Digest
    suite_digest: Digest
    answers: Mapping[Key, JudgedAnswer]
    logs: Mapping[Key, Digest]
    """An evaluation that holds each answer."""


def requirements_of(workspace: Workspace) -> JudgeRequirements:
    """What the project's policy asks of a judge."""
    judge = load_policy(workspace.project.gate_policy).judge
    return JudgeRequirements(**judge.model_dump(include=set(JudgeRequirements.model_fields)))


def current_judge(workspace: Workspace) -> EvalManifest:
    """The manifest of the newest evaluation of the champion, or of any release without one.

    Raises:
        BadInput: nothing was evaluated yet.
    """
    with workspace.registry() as registry:
        live = registry.champion_digest()
        events = [event for event in registry.history() if event.kind == "evaluated"]
    here = [e for e in events if workspace.home.path("evals", e.subject).is_dir()]
    chosen = [event for event in here if event.detail["release"] == live] or here
    if not chosen:
        raise BadInput(
            "No evaluation is on this machine, so no judge gave a score.",
            next_step="ratchet nightly   or   ratchet evaluate",
        )
    return load_log(workspace.home.path("evals", chosen[-1].subject)).manifest


def calibrate_judge(
    workspace: Workspace, *, pairwise: Sequence[PairwiseVerdict] = ()
) -> JudgeCalibration:
    """Hold the current judge against all labels, keep the result, and freeze what it rests on.

    Raises:
        BadInput: nothing was evaluated, or nobody labelled an answer of this suite.
        ScoresError: a file of labels is wrong.
    """
    manifest = current_judge(workspace)
    judged = judged_here(workspace, manifest.judge_digest, manifest.suite_digest)
    calibration = _calibrated(workspace, judged, pairwise)
    if not any(found.agreement.n for found in calibration.measures.values()):
        raise BadInput(
            "No answer has both a label and this judge's score.",
            next_step="Label some: ratchet label",
        )
    save_calibration(workspace.home, calibration)
    freeze_anchor(workspace, judged)
    return calibration


def freeze_anchor(workspace: Workspace, judged: JudgedHere | None = None) -> FrozenSet:
    """Freeze the labelled answers with the judge's scores of now.

    Args:
        workspace: settings and state.
        judged: the scores; None: those of the current judge.

    Raises:
        BadInput: no answer has both a label and a score.
    """
    if judged is None:
        manifest = current_judge(workspace)
        judged = judged_here(workspace, manifest.judge_digest, manifest.suite_digest)
    table = LabelTable(stored_labels(workspace), suite_digest=judged.suite_digest)
    rows = []
    for key, answer in sorted(judged.answers.items()):
        scores = {
            name: score
            for name, score in answer.scores.items()
            if table.mean(answer, name) is not None
        }
        if scores:
            rows.append(
                FrozenAnswer(
                    case_id=answer.case_id,
                    cluster=answer.cluster,
                    answer_digest=answer.answer_digest,
                    log_digest=judged.logs[key],
                    scores=scores,
                )
            )
    if not rows:
        raise BadInput(
            "No answer has both a label and this judge's score, so there is nothing to freeze.",
            next_step="Label some: ratchet label",
        )
    frozen = FrozenSet(
        suite_digest=judged.suite_digest,
        judge_digest=judged.judge_digest,
        answers=tuple(rows),
        at=now(),
    )
    save_frozen(frozen, workspace.home)
    return frozen


def refresh_anchor(workspace: Workspace, progress: Progress) -> DriftResult | None:
    """Ask today's judge about the frozen answers again, and take its vote away if it moved.

    A judge that was never calibrated (its model or its prompt is new) is calibrated on the labels
    of these answers; it has no vote either when it differs too much from the one before it.

    Args:
        workspace: settings and state.
        progress: told how many answers were judged.

    Returns:
        None when nothing is frozen for this suite.

    Raises:
        CallFailed: the server lost calls; nothing is concluded.
        CorruptArtifact: an evaluation that holds a frozen answer is gone.
    """
    with workspace.registry() as registry:
        live = registry.champion()
    if live is None:
        return None
    plan = plan_release(workspace, live)
    frozen = load_frozen(workspace.home, plan.suite.digest)
    if frozen is None:
        return None
    before = load_asked(workspace.home, plan.judge_digest)
    asked = AskedAgain(
        anchor_digest=frozen.digest,
        judge_digest=plan.judge_digest,
        round=before.round + 1 if before else 1,
        answers=(),
        at=now(),
    )
    answers = asyncio.run(_ask(workspace, plan, frozen, asked.round, progress))
    asked = asked.model_copy(update={"answers": answers})
    found = drift(
        frozen,
        asked,
        scales=label_scales(workspace),
        limit=requirements_of(workspace).max_drift,
    )
    save_asked(asked, workspace.home)
    calibration = load_calibration(workspace.home, plan.judge_digest)
    if calibration is None:
        judged = judged_here(workspace, plan.judge_digest, plan.suite.digest)
        calibration = _calibrated(workspace, judged, ())
    save_calibration(workspace.home, calibration.with_drift(found))
    return found


def judged_here(workspace: Workspace, judge_digest: Digest, suite_digest: Digest) -> JudgedHere:
    """Collect a judge's scores; of one answer's the newest count.

    Answers come from every stored evaluation of the suite. Scores come from those by this judge,
    and from the last time that it was asked about the frozen answers.
    """
    logs = _logs(workspace, suite_digest)
    asked = load_asked(workspace.home, judge_digest)
    answers: dict[Key, JudgedAnswer] = {}
    where: dict[Key, Digest] = {}
    for log in logs:
        for answer in judged_answers(log):
            key = (answer.case_id, answer.answer_digest)
            where[key] = log.digest
            if log.manifest.judge_digest == judge_digest:
                answers[key] = answer
            else:
                answers.setdefault(key, replace(answer, scores={}))
    for row in asked.answers if asked else ():
        key = (row.case_id, row.answer_digest)
        if key in answers:
            answers[key] = replace(answers[key], scores={**answers[key].scores, **row.scores})
    scored = {key: answer for key, answer in answers.items() if answer.scores}
    return JudgedHere(judge_digest, suite_digest, scored, where)


def _calibrated(
    workspace: Workspace, judged: JudgedHere, pairwise: Sequence[PairwiseVerdict]
) -> JudgeCalibration:
    return calibrate(
        judged.answers.values(),
        stored_labels(workspace),
        judge_digest=judged.judge_digest,
        suite_digest=judged.suite_digest,
        scales=label_scales(workspace),
        draws=stored_draws(workspace),
        requirements=requirements_of(workspace),
        pairwise=pairwise,
    )


def _logs(workspace: Workspace, suite_digest: Digest) -> list[EvalLog]:
    """Readable evaluations of a suite, oldest first."""
    found = []
    for directory in workspace.home.room("evals").glob("[!.]*"):
        try:
            log = load_log(directory)
        except CorruptArtifact:
            # It is named where it is needed; here the others will do.
            continue
        if log.manifest.suite_digest == suite_digest:
            found.append(log)
    return sorted(found, key=lambda log: (log.manifest.started_at, log.digest))


async def _ask(
    workspace: Workspace,
    plan: EvaluationPlan,
    frozen: FrozenSet,
    number: int,
    progress: Progress,
) -> tuple[FrozenAnswer, ...]:
    """Let the judge score every frozen answer, as if it had never seen one."""
    results = _results(workspace, frozen)
    names = sorted({name for row in frozen.answers for name in row.scores})
    measures = [measure(name) for name in names]
    settings = workspace.project.evaluate
    compared = any("embedder" in each.inputs for each in measures)
    embedder = open_embedder(workspace, plan.release.embedding, progress) if compared else None
    scores: list[dict[str, float]] = [{} for _ in results]
    lost = done = 0
    async with open_door(
        workspace, plan.judge, endpoint=settings.judge.endpoint, progress=progress
    ) as client:
        context = MeasureContext(
            client=client, judge=settings.judge, judge_prompt=plan.judge_prompt, embedder=embedder
        )
        progress("ask the judge again", 0, len(results))
        with calling(repeat=ROUNDS + number):
            for each in measures:
                for place, row in enumerate(await each.score(results, context)):
                    if isinstance(row, Score):
                        scores[place][each.name] = row.value
                    else:
                        lost += row.error_type == CallFailed.__name__
                done += 1
                progress("ask the judge again", done * len(results) // len(measures), len(results))
    if lost:
        raise CallFailed(
            f"{lost} of {len(results) * len(measures)} scores of the frozen answers were lost.",
            next_step="Look at the server, then: ratchet judge rejudge",
        )
    return tuple(
        row.model_copy(update={"scores": found})
        for row, found in zip(frozen.answers, scores, strict=True)
    )


def _results(workspace: Workspace, frozen: FrozenSet) -> list[CaseResult]:
    """Each frozen answer with its case and passages, in the set's order."""
    found: dict[tuple[Digest, str], CaseResult] = {}
    for name in sorted({row.log_digest for row in frozen.answers}):
        log = load_log(workspace.home.path("evals", name))
        found |= {(name, result.case.case_id): result for result in log.results}
    results = []
    for row in frozen.answers:
        result = found.get((row.log_digest, row.case_id))
        text = result.answer.text if result is not None and result.answer is not None else None
        if result is None or text is None or text_digest(text) != row.answer_digest:
            raise CorruptArtifact(
                f"Evaluation {row.log_digest[:12]} doesn't hold the frozen answer to "
                f"{row.case_id!r}.",
                next_step="Freeze the answers again: ratchet judge anchor",
            )
        results.append(result)
    return results
