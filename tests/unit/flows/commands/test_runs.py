import json

import pytest

from flows.commands.tables import decision_table, means_table, outcome_lines
from flows.outcome import Outcome
from flows.steps.decide import decide_stored, load_evaluation
from tasks.gate.policy import load_policy
from tests.unit.flows.evaluations import POLICY, evaluated, registered

RUNS = (("nightly",), ("reindex",), ("evaluate",), ("demo",), ("suite", "check"), ("status",))


@pytest.mark.parametrize("command", RUNS, ids=" ".join)
def test_a_wrong_line_of_a_file_ends_a_run_before_it_begins(ratchet, project, command):
    project.edit("release", retrieval={"top_k": 0})
    shown = ratchet(*command)
    assert shown.exit_code == 2
    assert "release.yaml:" in shown.stderr
    assert "retrieval.top_k" in shown.stderr
    assert "Next:" in shown.stderr
    assert "Traceback" not in shown.output
    assert shown.stdout == ""
    assert not project.home.exists()


@pytest.mark.parametrize("command", RUNS, ids=" ".join)
def test_outside_a_project_a_run_says_what_is_missing(ratchet, tmp_path, monkeypatch, command):
    monkeypatch.setenv("RATCHET_PROJECT", str(tmp_path))
    shown = ratchet(*command)
    assert shown.exit_code == 2
    assert "No Ratchet project" in shown.stderr
    assert "Next:" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nightly", "--top-k", "0"), "'--top-k': Input should be greater"),
        (("nightly", "--top-k", "four"), "'--top-k': Input should be a valid integer"),
        (("nightly", "--cases", "0"), "'--cases': Input should be greater"),
        (("evaluate", "--cases", "-1"), "'--cases': Input should be greater"),
        (("nightly", "--release", "configs/gone.yaml"), "configs/gone.yaml"),
        (("reindex", "--release", "configs/gone.yaml"), "configs/gone.yaml"),
        (("up", "--only", "postgres"), "postgres"),
        (("down", "--only", "postgres"), "postgres"),
    ],
)
def test_an_argument_that_makes_no_sense_is_bad_input(ratchet, project, arguments, said):
    shown = ratchet(*arguments)
    assert shown.exit_code == 2
    assert said in shown.stderr
    assert "Traceback" not in shown.output
    assert not project.home.exists()


def test_the_state_of_the_servers_is_json_for_a_script(ratchet, project):
    shown = ratchet("status", "--json")
    assert shown.exit_code == 0
    rows = {row["service"]: row["state"] for row in json.loads(shown.stdout)}
    assert rows == dict.fromkeys(("vllm", "mlflow", "prefect", "worker"), "stopped")


def test_with_no_server_up_there_is_nothing_to_take_down(ratchet, project):
    assert ratchet("down").stdout == "Nothing was running.\n"


# --- the suite ----------------------------------------------------------------------------------


def test_a_suite_that_fits_its_corpus_is_in_order(ratchet, project):
    shown = ratchet("suite", "check")
    assert shown.exit_code == 0
    assert "small: 3 cases, 3 gold spans, 0 moved, 0 lost." in shown.stdout


def test_json_stays_alone_on_standard_output_while_progress_is_told(ratchet, project):
    shown = ratchet("suite", "check", "--json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["spans"] == 3
    assert "read the corpus" in shown.stderr


def test_a_quote_that_is_gone_is_named_and_is_bad_input(ratchet, project):
    project.note("apples", "Eat [them] now.\n")
    shown = ratchet("suite", "check")
    assert shown.exit_code == 2
    assert "apples: 'notes/apples.md' doesn't have 'Keep'" in shown.stdout
    assert json.loads(ratchet("suite", "check", "--json").stdout)["lost"] == 1


# --- the tables ---------------------------------------------------------------------------------


@pytest.fixture
def decision(project, workspace):
    (project.root / "configs" / "gate.yaml").write_text(POLICY)
    old, new = (
        evaluated(workspace, registered(workspace, number), right=20, failed=2)
        for number in range(2)
    )
    return decide_stored(workspace, load_policy(workspace.project.gate_policy), old, new)


def drawn(capsys, *lines):
    from flows.commands.console import screen

    for line in lines:
        screen.print(line)
    return capsys.readouterr().out


def test_an_outcome_is_verdict_measures_reasons_and_where_the_report_is(
    workspace, decision, capsys
):
    ref, _ = decision
    outcome = Outcome(
        verdict="HOLD",
        release="answer",
        message="answer [bold]x[/bold]: HOLD.",
        decision=ref.digest,
        page=ref.page,
    )
    shown = drawn(capsys, *outcome_lines(workspace, outcome))
    assert shown.startswith("HOLD answer [bold]x[/bold]: HOLD.")
    assert "answer_correct" in shown
    # What has no vote isn't in the short table.
    assert "latency_s" not in shown
    assert str(ref.page.relative_to(workspace.project.root)) in shown.replace("\n", "")


def test_an_outcome_without_a_decision_is_one_line(workspace, capsys):
    outcome = Outcome(verdict="UNCHANGED", release="answer", message="nothing to do")
    assert drawn(capsys, *outcome_lines(workspace, outcome)) == "UNCHANGED nothing to do\n"


def test_a_table_of_means_counts_what_failed_and_what_has_no_value(workspace, decision, capsys):
    _, decided = decision
    log = load_evaluation(workspace, decided.challenger_log)
    rows = drawn(capsys, means_table(log)).splitlines()
    correct = next(row.split() for row in rows if "answer_correct" in row)
    assert correct[-2:] == ["58", "2"]
    assert "role" in drawn(capsys, decision_table(decided))
