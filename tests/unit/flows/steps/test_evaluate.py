from dataclasses import replace

import pytest

from flows.steps.evaluate import (
    check,
    evaluate_release,
    plan_release,
    suite_for,
)
from flows.workspace import open_workspace
from registry import evaluation_content
from tasks.errors import ConfigError, SetupError, SuiteError
from tasks.evaluate.log import save_log
from tests.evaluations import make_log
from tests.unit.flows.conftest import case_line, publish, silent


def test_the_plan_takes_suite_measures_and_judge_from_the_settings(workspace, release):
    plan = plan_release(workspace, release)
    assert [case.case_id for case in plan.suite.cases] == ["apples", "bread", "cheese"]
    assert [measure.name for measure in plan.measures] == ["R@4", "contains"]
    assert plan.judge.name == workspace.project.evaluate.judge.model
    assert plan.judge_prompt.name == "judge_rubric"
    assert plan.digest == plan_release(open_workspace(), release).digest


def test_a_quick_look_is_another_evaluation(workspace, release):
    quick = plan_release(open_workspace(cases=2), release)
    assert len(quick.suite.cases) == 2
    assert quick.digest != plan_release(workspace, release).digest


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"measures": ["rouge"]}, ConfigError, "no measure 'rouge'"),
        ({"suite": "data/suites/none.jsonl"}, SuiteError, "no suite"),
        ({"judge": {"prompt": "poem"}}, ConfigError, r"no file '.*poem\.yaml'"),
        ({"judge": {"prompt": "answer"}}, ConfigError, "unknown {{ passages }}"),
        (
            {"measures": ["faithfulness"], "judge": {"model": "smollm2-135m-instruct"}},
            ConfigError,
            "serves one model",
        ),
    ],
)
def test_a_wrong_setting_is_found_before_anything_is_spent(project, release, change, error, said):
    project.edit("evaluate", **change)
    with pytest.raises(error, match=said) as caught:
        plan_release(open_workspace(), release)
    assert caught.value.next_step


def test_gold_spans_move_with_their_quotes_and_the_suite_stays_the_same(project, workspace):
    before = plan_release(workspace, publish(workspace))
    project.note("apples", "Apples are fruit. Keep apples cool.\n")
    release = publish(workspace)
    after = plan_release(workspace, release)
    assert after.suite.digest == before.suite.digest
    assert (after.suite.cases[0].gold[0].start, before.suite.cases[0].gold[0].start) == (18, 0)
    assert [moved.case_id for moved in check(workspace, release).moved] == ["apples"]


def test_a_quote_that_is_gone_stays_in_the_suite_marked_and_is_named(project, workspace):
    project.note("apples", "Eat them now.\n")
    (project.root / "data" / "notes" / "bread.md").unlink()
    release = publish(workspace)
    # Another note has the words of the one that is gone.
    marks = [case.gold[0].lost for case in suite_for(workspace, release).cases]
    assert marks == ["quote", "document", None]
    assert [lost.case_id for lost in check(workspace, release).lost] == ["apples", "bread"]


def test_the_suite_of_another_corpus_is_refused(project, workspace):
    project.suite(*(case_line(word) for word in ("iron", "steel")))
    release = publish(workspace)
    with pytest.raises(SuiteError, match="None of the 2 gold spans") as caught:
        plan_release(workspace, release)
    assert "ratchet suite check" in caught.value.next_step


def test_an_evaluation_that_was_finished_is_found_again_and_stands_in_the_ledger(
    workspace, release
):
    plan = plan_release(workspace, release)
    log = make_log(release, failed=0)
    manifest = log.manifest.model_copy(update={"digest": plan.digest})
    save_log(replace(log, manifest=manifest), workspace.home.room("evals"))
    assert evaluate_release(workspace, release, silent) == plan.digest
    assert evaluate_release(workspace, release, silent) == plan.digest
    with workspace.registry() as registry:
        [event] = [event for event in registry.history() if event.kind == "evaluated"]
    assert event.subject == plan.digest
    content = evaluation_content(workspace.home.path("evals", plan.digest))
    assert event.detail == {
        "release": release.digest,
        "suite": plan.suite.digest,
        "content": content,
    }


def test_an_evaluation_that_cannot_begin_leaves_nothing(project, release):
    project.edit(
        "models",
        embeddings={
            "all-minilm-l6-v2": {
                "sources": [{"kind": "path", "path": "/nowhere"}],
                "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                "dimensions": 384,
                "max_tokens": 256,
            }
        },
    )
    workspace = open_workspace()
    with pytest.raises(SetupError, match="nowhere"):
        evaluate_release(workspace, release, silent)
    assert list(workspace.home.room("evals").iterdir()) == []
    with workspace.registry() as registry:
        assert {event.kind for event in registry.history()} == {"registered"}
