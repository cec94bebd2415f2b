"""Two stored evaluations whose answers a judge scored, and people who label them."""

from collections.abc import Callable
from dataclasses import replace

from flows.steps.label import evaluated_pair, open_labelling
from flows.workspace import Workspace
from tasks.answer.release import Release
from tasks.evaluate.log import EvalLog, save_log
from tests.evaluations import make_log
from tests.unit.flows.conftest import SmallProject
from tests.unit.flows.evaluations import POLICY, registered

MEASURE = "rubric_accuracy"


def judged(
    workspace: Workspace, release: Release, *, said: str, right: int = 30, cases: int = 60
) -> EvalLog:
    """A stored and recorded evaluation in which every answer ends with these words."""
    log = make_log(release, cases=cases, right=right, failed=0)
    results = [
        replace(result, answer=replace(result.answer, text=f"{result.answer.text} {said}"))
        for result in log.results
        if result.answer is not None
    ]
    log = replace(log, results=tuple(results))
    save_log(log, workspace.home.room("evals"))
    with workspace.registry() as registry:
        registry.record_evaluation(
            log.digest, release=release.digest, suite=log.manifest.suite_digest, who="tester"
        )
    return log


def two_evaluations(project: SmallProject, workspace: Workspace) -> tuple[EvalLog, EvalLog]:
    """The champion's and another one's, under a policy that knows their measures."""
    (project.root / "configs" / "gate.yaml").write_text(POLICY)
    champion, challenger = registered(workspace), registered(workspace, 1)
    with workspace.registry() as registry:
        registry.promote(
            champion.digest, expected_champion=None, who="tester", why="test", override=True
        )
    return (
        judged(workspace, champion, said="Old.", right=30),
        judged(workspace, challenger, said="New [bold]and[/] longer than the old one.", right=45),
    )


def label_all(
    workspace: Workspace,
    mark: Callable[[float], float],
    *,
    cases: int | None = None,
    by: str = "kim",
) -> None:
    """Let a person give every answer what `mark` makes of the judge's score."""
    old, new = evaluated_pair(workspace)
    work = open_labelling(workspace, old, new, labeller=by)
    scores = {log.manifest.release_digest: log.values(MEASURE) for log in (old, new)}
    for case in work.draw.cases[:cases]:
        work.keep(
            work.label(case, side, MEASURE, mark(scores[side[0]][case.case_id]))
            for side in work.draw.shown(case)
        )
