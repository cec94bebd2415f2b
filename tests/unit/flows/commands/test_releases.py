import json

import pytest

from tests.unit.flows.evaluations import registered


@pytest.fixture
def two(workspace):
    return registered(workspace), registered(workspace, 1)


def read(ratchet, *arguments):
    shown = ratchet(*arguments, "--json")
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == ""
    return json.loads(shown.stdout)


def test_before_the_first_run_there_is_nothing_and_it_says_how_to_begin(ratchet, project):
    assert "ratchet nightly" in ratchet("releases").stdout
    assert read(ratchet, "releases") == []
    assert read(ratchet, "history") == []


def test_a_release_goes_live_by_hand_only_with_a_reason_that_history_keeps(ratchet, two):
    shown = ratchet("promote", two[0].digest[:12], "--why", "looks good")
    assert shown.exit_code == 2
    assert "Next:" in shown.stderr
    assert ratchet("promote", two[0].digest[:12], "--override").exit_code == 2
    moved = read(ratchet, "promote", two[0].digest[:12], "--override", "the [first] one")
    assert moved == {"changed": True, "champion": two[0].digest}
    [event] = [row for row in read(ratchet, "history") if row["kind"] == "promoted"]
    assert (event["why"], event["who"]) == ("the [first] one", "tester")
    assert "the [first] one" in ratchet("history").stdout


def test_the_way_back_is_one_command(ratchet, two):
    for release in two:
        ratchet("promote", release.label, "--override", "test")
    rows = {row["digest"]: row for row in read(ratchet, "releases")}
    assert rows[two[1].digest]["champion"]
    assert rows[two[0].digest]["previous"]
    shown = ratchet("rollback", "--why", "slower")
    assert shown.exit_code == 0
    assert two[0].label in shown.stdout
    assert "champion" in next(
        line for line in ratchet("releases").stdout.splitlines() if two[0].label in line
    )


def test_staging_has_a_release_of_its_own_and_its_own_way_back(ratchet, two):
    for release in two:
        moved = ratchet(*("promote", release.label, "--override", "try", "--channel", "staging"))
        assert "on staging now" in moved.stdout, moved.output
    rows = {row["digest"]: row for row in read(ratchet, "releases")}
    assert rows[two[1].digest]["staging"]
    assert not any(row["champion"] for row in rows.values())
    assert "promoted (staging)" in ratchet("history").stdout
    assert ratchet("rollback", "--why", "x").exit_code == 2
    back = read(ratchet, "rollback", "--why", "bad", "--channel", "staging")
    assert back == {"changed": True, "champion": two[0].digest}
    assert ratchet("promote", two[0].label, "--why", "x", "--channel", "moon").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("promote", "nothing", "--why", "x"),
        ("promote", "previous", "--why", "x"),
        ("rollback", "--why", "x"),
        ("rollback", "--to", "nothing", "--why", "x"),
        ("diff", "previous", "champion"),
        ("diff", "abc", "def"),
        ("ask", "how?"),
        ("ask", "how?", "--release", "nothing"),
    ],
)
def test_a_name_that_names_nothing_is_bad_input_with_a_next_step(ratchet, two, arguments):
    shown = ratchet(*arguments)
    assert shown.exit_code == 2
    assert "Error:" in shown.stderr
    assert "Next:" in shown.stderr
    assert "Traceback" not in shown.output
    assert shown.stdout == ""


def test_what_differs_between_two_releases_is_shown(ratchet, two):
    old, new = (release.digest[:12] for release in two)
    assert "Answer in 4 words." in ratchet("diff", old, new).stdout
    assert isinstance(read(ratchet, "diff", old, new), dict)


def test_an_empty_question_is_refused_before_anything_is_opened(ratchet, project):
    shown = ratchet("ask", "  ")
    assert shown.exit_code == 2
    assert "the question is empty" in shown.stderr
    assert not project.home.exists()


def test_a_promotion_and_a_rollback_rewrite_the_tracked_file(ratchet, project, two):
    project.edit("services", registry={"champion_file": "deploy/champion.yaml"})
    path = project.root / "deploy" / "champion.yaml"
    for release in two:
        ratchet("promote", release.label, "--override", "test")
        assert f"digest: {release.digest}" in path.read_text()
    assert ratchet("rollback", "--why", "slower").exit_code == 0
    assert f"digest: {two[0].digest}" in path.read_text()
    assert "why: slower" in path.read_text()
