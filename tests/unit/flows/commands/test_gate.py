import json
from pathlib import Path

import pytest

from tests.unit.flows.evaluations import POLICY


@pytest.fixture(name="policy")
def policy_file(tmp_path: Path) -> str:
    path = tmp_path / "gate.yaml"
    path.write_text(POLICY)
    return str(path)


def scores(path: Path, *, right: int, cases: int = 60) -> str:
    """Scores of another tool, in which so many of the cases are right."""
    rows = [
        {"case_id": f"c{number}", "measure": measure, "value": float(number < right)}
        for number in range(cases)
        for measure in ("answer_correct", "token_f1", "R@4")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("right", "verdict", "code"), [(50, "PROMOTE", 0), (30, "HOLD", 3), (5, "REJECT", 4)]
)
def test_the_verdict_is_the_first_line_and_the_exit_code(
    ratchet, policy, tmp_path, right, verdict, code
):
    old = scores(tmp_path / "old.jsonl", right=30)
    new = scores(tmp_path / "new.jsonl", right=right)
    shown = ratchet("gate", "--champion", old, "--challenger", new, "--policy", policy)
    assert shown.exit_code == code
    assert shown.stdout.splitlines()[0] == verdict
    assert "answer_correct" in shown.stdout
    assert shown.stderr == ""


def test_json_is_the_whole_decision_and_nothing_else(ratchet, policy, tmp_path):
    old = scores(tmp_path / "old.jsonl", right=30)
    new = scores(tmp_path / "new.jsonl", right=5)
    arguments = ("gate", "--champion", old, "--challenger", new, "--policy", policy, "--json")
    shown = ratchet(*arguments)
    assert shown.exit_code == 4
    assert json.loads(shown.stdout)["verdict"] == "REJECT"
    # The same scores and rules are the same decision.
    assert ratchet(*arguments).stdout == shown.stdout


def test_without_a_champion_the_floors_decide(ratchet, policy, tmp_path):
    new = scores(tmp_path / "new.jsonl", right=50)
    shown = ratchet("gate", "--challenger", new, "--policy", policy)
    assert shown.exit_code == 0
    assert "floor" in shown.stdout
    assert "met" in shown.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", ":1:"),
        ('{"case_id": "a", "measure": "rouge", "value": 1}', "rouge"),
        ('{"case_id": "a", "measure": "answer_correct", "value": 0.5}', "0.5"),
        ('{"case_id": "a", "measure": "answer_correct", "value": NaN}', ":1:"),
        ("", "holds no scores"),
    ],
)
def test_bad_scores_are_bad_input_with_their_line(ratchet, policy, tmp_path, line, said):
    path = tmp_path / "new.jsonl"
    path.write_text(line + "\n")
    shown = ratchet("gate", "--challenger", str(path), "--policy", policy)
    assert shown.exit_code == 2
    assert said in shown.stderr
    assert "Next:" in shown.stderr
    assert shown.stdout == ""


@pytest.mark.parametrize("missing", ["--challenger", "--policy"])
def test_a_file_that_is_not_there_is_bad_input(ratchet, policy, tmp_path, missing):
    files = {"--challenger": scores(tmp_path / "new.jsonl", right=9), "--policy": policy}
    files[missing] = str(tmp_path / "gone")
    shown = ratchet("gate", *(part for pair in files.items() for part in pair))
    assert shown.exit_code == 2
    assert "gone" in shown.stderr
    assert "Next:" in shown.stderr


def test_a_report_is_one_page_of_the_same_decision(ratchet, policy, tmp_path):
    old = scores(tmp_path / "old.jsonl", right=30)
    new = scores(tmp_path / "new.jsonl", right=50)
    page = tmp_path / "out.html"
    shown = ratchet(
        *("gate", "--champion", old, "--challenger", new, "--policy", policy),
        *("--report", str(page)),
    )
    assert shown.exit_code == 0
    assert "PROMOTE" in page.read_text(encoding="utf-8")


def test_what_was_not_checked_is_listed(ratchet, policy, tmp_path):
    old = scores(tmp_path / "old.jsonl", right=30)
    new = scores(tmp_path / "new.jsonl", right=50)
    arguments = ("gate", "--champion", old, "--challenger", new, "--policy", policy, "--json")
    status = {
        check["name"]: check["status"] for check in json.loads(ratchet(*arguments).stdout)["checks"]
    }
    assert (status["anchor"], status["noise"], status["budget"]) == ("not_checked",) * 3
    status = {
        check["name"]: check["status"]
        for check in json.loads(ratchet(*arguments, "--anchor", old, "--noise", old).stdout)[
            "checks"
        ]
    }
    assert (status["anchor"], status["noise"]) == ("passed", "passed")


def test_a_later_look_needs_more(ratchet, policy, tmp_path):
    old = scores(tmp_path / "old.jsonl", right=30)
    new = scores(tmp_path / "new.jsonl", right=36)
    arguments = ("gate", "--champion", old, "--challenger", new, "--policy", policy)
    assert ratchet(*arguments).exit_code == 0
    assert ratchet(*arguments, "--look", "2").exit_code == 3


def test_scores_are_asked_for(ratchet):
    shown = ratchet("gate")
    assert shown.exit_code == 2
    assert "--challenger" in shown.stderr


def test_a_plan_says_what_the_cases_can_show(ratchet, policy, tmp_path):
    old = scores(tmp_path / "old.jsonl", right=30)
    shown = ratchet("gate", "plan", "--champion", old, "--policy", policy)
    assert shown.exit_code == 0
    assert "60 cases find an improvement of" in shown.stdout
    full = scores(tmp_path / "full.jsonl", right=60)
    hopeless = ratchet("gate", "plan", "--champion", full, "--policy", policy)
    assert hopeless.exit_code == 3
    assert "Hopeless" in hopeless.stdout


def test_a_plan_without_a_champion_says_what_is_missing(ratchet, project):
    shown = ratchet("gate", "plan")
    assert shown.exit_code == 2
    assert "no champion yet" in shown.stderr
