import json
import shutil
import sqlite3

import pytest

from tests.unit.flows.evaluations import registered


@pytest.fixture
def home(ratchet, workspace):
    """A registry with a champion, whose index was moved to another machine."""
    release = registered(workspace)
    assert ratchet("promote", release.label, "--override", "first").exit_code == 0
    shutil.rmtree(workspace.home.path("index"))
    return workspace.home


def test_what_fits_is_counted_and_exits_with_0(ratchet, home):
    shown = ratchet("verify")
    assert shown.exit_code == 0, shown.output
    assert "Everything fits: 2 events, 2 pointers" in shown.stdout
    found = json.loads(ratchet("verify", "--json").stdout)
    assert found["fits"]
    assert found["misfit"] is None
    assert found["checked"]["releases"] == 1


def test_what_does_not_fit_is_named_and_exits_with_1(ratchet, home):
    with sqlite3.connect(home.path("registry.db")) as connection:
        connection.execute("UPDATE events SET why = 'a [better] one' WHERE kind = 'promoted'")
    shown = ratchet("verify")
    assert shown.exit_code == 1
    assert "Event 2 (promoted" in shown.stdout
    assert "Next:" in shown.stdout
    as_json = ratchet("verify", "--json")
    assert as_json.exit_code == 1
    found = json.loads(as_json.stdout)
    assert (found["fits"], found["misfit"]["thing"], found["misfit"]["name"]) == (
        False,
        "event",
        "2",
    )


def test_a_pointer_that_was_moved_by_hand_stops_other_commands_but_not_this_one(ratchet, home):
    with sqlite3.connect(home.path("registry.db")) as connection:
        connection.execute("UPDATE pointers SET event_id = 1 WHERE name = 'production'")
    refused = ratchet("rollback", "--why", "x")
    assert refused.exit_code == 1
    assert "ratchet verify" in refused.stderr
    shown = ratchet("verify")
    assert shown.exit_code == 1
    assert "The pointer 'production'" in shown.stdout


def test_before_the_first_run_there_is_nothing_that_does_not_fit(ratchet, project):
    assert ratchet("verify").exit_code == 0
