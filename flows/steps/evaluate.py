"""Release -> stored evaluation: open the servers, run the plan, keep the log."""

import asyncio
import shutil
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from flows.addresses import served_elsewhere
from flows.endpoints import open_door
from flows.show import showing_calls
from flows.steps.committed import could_be_clean
from flows.steps.index import open_embedder, open_release
from flows.steps.served import Warn, check_canary, describe_server
from flows.workspace import Workspace, actor
from registry import evaluation_content
from tasks.answer.prompt import ANSWER_VARIABLES, load_prompt
from tasks.answer.release import Release
from tasks.corpus.snapshot import Snapshot
from tasks.corpus.stored import open_snapshot
from tasks.digest import SHORT, Digest
from tasks.errors import ConfigError, SuiteError
from tasks.evaluate.log import EvalLog, load_log, load_manifest, save_log
from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import MeasureContext
from tasks.evaluate.measures.rubric import RUBRIC_VARIABLES
from tasks.evaluate.provenance import read_provenance
from tasks.evaluate.run import EvaluationPlan, Progress, evaluate, plan_evaluation
from tasks.evaluate.spans import SuiteCheck, check_suite, relocate
from tasks.evaluate.suite import Suite, load_suite
from tasks.gate.policy import load_policy
from tasks.serve.together import together
from tasks.serve.version import model_version


def plan_release(workspace: Workspace, release: Release) -> EvaluationPlan:
    """What evaluating this release means under the current settings; nothing is spent.

    Raises:
        ConfigError: a measure, model or prompt isn't known.
        SuiteError: the suite is malformed or doesn't fit the corpus at all.
    """
    project = workspace.project
    judge = project.evaluate.judge
    judged = judge.sample != 0 and any(measure(name).judged for name in project.evaluate.measures)
    one_server = judge.endpoint is None and not (
        served_elsewhere(project, release.model.name) or served_elsewhere(project, judge.model)
    )
    if judged and one_server and judge.model != release.model.name:
        raise ConfigError(
            f"The judge is {judge.model!r} and the release's model {release.model.name!r}, but "
            "the vLLM that Ratchet starts serves one model.",
            next_step="Start a server for the judge and set judge.endpoint in "
            "configs/evaluate.yaml, or name one model in both.",
        )
    return plan_evaluation(
        release,
        suite_for(workspace, release),
        project.evaluate,
        judge=model_version(judge.model, project.models.generator(judge.model)),
        judge_prompt=load_prompt(
            project.prompts / f"{judge.prompt}.yaml", variables=RUBRIC_VARIABLES
        ),
    )


def check_settings(workspace: Workspace) -> None:
    """Read every file that a nightly run will need, before anything is started.

    Raises:
        ConfigError: a prompt, a measure or the policy is missing or wrong.
        SuiteError: the suite is.
    """
    project = workspace.project
    load_prompt(project.prompts / f"{project.release.prompt}.yaml", variables=ANSWER_VARIABLES)
    load_prompt(
        project.prompts / f"{project.evaluate.judge.prompt}.yaml", variables=RUBRIC_VARIABLES
    )
    load_suite(project.root / project.evaluate.suite)
    for name in project.evaluate.measures:
        measure(name)
    load_policy(project.gate_policy)


def evaluate_release(
    workspace: Workspace,
    release: Release,
    progress: Progress,
    *,
    beside: Sequence[Release] = (),
    warn: Warn = print,
) -> Digest:
    """Evaluate a registered release, or find that this was done; returns the log's digest.

    An evaluation that lost calls, to a server that was away for a while, is made again: only the
    lost calls are. When the same ones are lost again, it counts. Where promotions need committed
    code, one that was made before the commit is made again, from the calls that are stored.

    Args:
        workspace: settings and state.
        release: the release.
        progress: told what is done.
        beside: releases that will be compared with it. When both must be evaluated and one server
            can answer both, their calls go out case by case in one stream, so that a slow minute
            hits both.
        warn: told what is odd and stops nothing.

    Raises:
        WrongModel: the server serves another model.
        ModelChanged: it answers otherwise than it did under the same name.
        ServerUnavailable: it doesn't answer.
        TooManyFailures: it went away; the next run continues from what was finished.
        BudgetSpent: so does the next run with a larger budget.
        CorruptArtifact: the stored evaluation was changed since it was made.
    """
    room = workspace.home.room("evals")
    together = {release.digest: _next_attempt(plan_release(workspace, release), room)}
    for other in beside:
        if other.model.digest == release.model.digest:
            together[other.digest] = _next_attempt(plan_release(workspace, other), room)
    due = [plan for plan in together.values() if _is_due(workspace, room / plan.digest)]
    if together[release.digest] in due:
        for log in asyncio.run(_evaluate(workspace, due, progress, warn)):
            if (room / log.digest).is_dir():
                # Killed after this, the next run makes it again, from the same calls.
                aside = room / f".{log.digest[:SHORT]}.partial-replaced"
                shutil.rmtree((room / log.digest).rename(aside))
            save_log(log, room)
    else:
        due = []
    for plan in (together[release.digest], *due):
        with workspace.registry() as registry:
            registry.record_evaluation(
                plan.digest,
                release=plan.release.digest,
                suite=plan.suite.digest,
                who=actor(),
                content=evaluation_content(room / plan.digest),
                made_now=plan in due,
            )
    return together[release.digest].digest


def _is_due(workspace: Workspace, directory: Path) -> bool:
    """Whether an evaluation has to be made, or made again."""
    return not directory.is_dir() or could_be_clean(workspace, load_manifest(directory))


def stored_evaluation(workspace: Workspace, release: Release) -> Digest | None:
    """The evaluation of a release under the current settings, if it was made."""
    room = workspace.home.room("evals")
    plan = _next_attempt(plan_release(workspace, release), room)
    if (room / plan.digest).is_dir():
        return plan.digest
    return None


def ask_again(
    workspace: Workspace,
    release: Release,
    cases: Sequence[str],
    *,
    repeat: int,
    measures: Collection[str],
    progress: Progress,
) -> EvalLog:
    """Evaluate some cases of a release once more, with models that are really asked again.

    It is kept apart from the evaluations that are compared and shown: it says how steady an
    answer is, not how good.

    Args:
        workspace: settings and state.
        release: the release.
        cases: their ids.
        repeat: which repetition, from 1.
        measures: which of the evaluation's measures.
        progress: told what is done.

    Raises:
        ServerUnavailable: the server doesn't answer.
        TooManyFailures: it went away; the next run continues from what was finished.
    """
    plan = plan_release(workspace, release)
    suite = plan.suite.subset(cases)
    plan = replace(
        plan,
        suite=suite,
        repeat=repeat,
        judged_cases=tuple(case for case in plan.judged_cases if case in set(cases)),
        measures=tuple(found for found in plan.measures if found.name in measures),
    )
    room = workspace.home.room("repeats")
    if not (room / plan.digest).is_dir():
        (log,) = asyncio.run(_evaluate(workspace, [plan], progress, print))
        save_log(log, room)
    return load_log(room / plan.digest)


def _next_attempt(plan: EvaluationPlan, room: Path) -> EvaluationPlan:
    """The attempt that counts, or the first one that was never made."""
    before: frozenset[tuple[str, str]] = frozenset()
    while (room / plan.digest).is_dir():
        lost = load_log(room / plan.digest).lost_calls()
        if not lost or lost == before:
            break
        plan, before = replace(plan, attempt=plan.attempt + 1), lost
    return plan


async def _evaluate(
    workspace: Workspace, plans: Sequence[EvaluationPlan], progress: Progress, warn: Warn
) -> list[EvalLog]:
    """Run plans whose releases have the same model, in one stream."""
    settings = workspace.project.evaluate
    first = plans[0]
    embedders = {
        plan.release.embedding_digest: open_embedder(workspace, plan.release.embedding, progress)
        for plan in plans
    }
    indexes = [
        open_release(workspace, plan.release, embedders[plan.release.embedding_digest], progress)
        for plan in plans
    ]
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            open_door(workspace, first.release.model, progress=progress)
        )
        judge = client
        judged = any(each.judged for each in first.measures) and bool(first.judged_cases)
        # Without a question for it, a server that can serve one model needn't serve the judge too.
        if judged and (settings.judge.endpoint or first.judge.digest != first.release.model.digest):
            judge = await stack.enter_async_context(
                open_door(
                    workspace, first.judge, endpoint=settings.judge.endpoint, progress=progress
                )
            )
        for door in {id(each): each for each in (client, judge)}.values():
            await check_canary(workspace, door, warn)
        if judge is client:
            await stack.enter_async_context(showing_calls(client, progress))
        else:
            for door, whose in ((client, "answers"), (judge, "judge")):
                await stack.enter_async_context(showing_calls(door, progress, whose))
        provenance = read_provenance(workspace.project.root)
        server = await describe_server(workspace, client)
        return await together(
            [
                evaluate(
                    plan,
                    index=index,
                    client=client,
                    context=MeasureContext(
                        client=judge,
                        judge=settings.judge,
                        judge_prompt=plan.judge_prompt,
                        embedder=embedders[plan.release.embedding_digest],
                        abstention=settings.abstention,
                        toxicity=settings.toxicity,
                    ),
                    provenance=provenance,
                    server=server,
                    progress=_share(progress, plan, plans),
                )
                for plan, index in zip(plans, indexes, strict=True)
            ]
        )


def _share(progress: Progress, plan: EvaluationPlan, plans: Sequence[EvaluationPlan]) -> Progress:
    """The progress of one plan; of several at once, each stage says whose it is."""
    if len(plans) == 1:
        return progress
    return lambda stage, done, total: progress(f"{stage} {plan.release.label}", done, total)


def suite_for(workspace: Workspace, release: Release) -> Suite:
    """The suite with every gold span where the release's corpus has its quote.

    A quote that is gone stays in the suite, marked: measures that need it have no value, and
    `check` names it. A suite of which no quote is left belongs to another corpus.

    Raises:
        SuiteError: the file is malformed, or no gold span fits the corpus.
    """
    suite, corpus = _suite_and_corpus(workspace, release)
    check = check_suite(suite, corpus)
    if check.n_spans and len(check.lost) == check.n_spans:
        raise SuiteError(
            f"None of the {check.n_spans} gold spans of suite {suite.name!r} is in the corpus.",
            next_step="Name the suite of this corpus in configs/evaluate.yaml, or see what is "
            "missing: ratchet suite check",
        )
    return relocate(suite, check, lost="keep")


def check(workspace: Workspace, release: Release) -> SuiteCheck:
    """Which gold spans moved or went away in the release's corpus."""
    return check_suite(*_suite_and_corpus(workspace, release))


def _suite_and_corpus(workspace: Workspace, release: Release) -> tuple[Suite, Snapshot]:
    suite = load_suite(workspace.project.root / workspace.project.evaluate.suite)
    return suite, open_snapshot(workspace.home.path("corpus", release.corpus_digest))
