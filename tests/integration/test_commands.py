"""The `ratchet` command as a process, on the state that nightly runs left."""

import json
import os
import signal
import subprocess
import time

import pytest

from flows.nightly import nightly

pytestmark = pytest.mark.integration


@pytest.fixture
def ratchet(project, prefect_api):
    project.edit("configs/services.yaml", prefect={"api_url": prefect_api})

    def call(*arguments, code=0):
        done = subprocess.run(
            [project.ratchet, *arguments],
            cwd=project.root,
            env=project.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    return call


def test_people_ask_compare_look_back_and_roll_back(project, double, ratchet):
    said = ratchet("ask", "Is anybody there?", code=2)
    assert "No release is live yet" in said
    assert "ratchet nightly" in said
    nightly(release="configs/baseline.yaml")
    nightly()

    asked = project.cases[0]
    answer = json.loads(ratchet("ask", asked.question, "--json"))
    assert answer["answer"] == asked.reference
    assert [passage["rank"] for passage in answer["passages"]] == [1, 2, 3, 4]
    assert asked.gold[0].doc_id in {passage["doc_id"] for passage in answer["passages"]}
    shown = ratchet("ask", asked.question)
    assert asked.reference in shown
    assert answer["passages"][0]["title"].split("(")[0] in shown

    listed = ratchet("releases")
    assert "champion" in listed
    assert "previous" in listed
    rows = json.loads(ratchet("releases", "--json"))
    assert [row["champion"] for row in rows] == [False, True]

    changed = ratchet("diff", "previous", "champion")
    assert "-Give it a try." in changed
    assert "+Be exact." in changed
    assert "Index" not in changed

    told = ratchet("history")
    assert told.count("decided PROMOTE") == 2
    assert "tester" in told

    moved = json.loads(ratchet("rollback", "--why", "too short", "--json"))
    assert moved["changed"] is True
    rows = json.loads(ratchet("releases", "--json"))
    assert [row["champion"] for row in rows] == [True, False]
    events = json.loads(ratchet("history", "--json"))
    assert (events[-1]["kind"], events[-1]["why"]) == ("rolled_back", "too short")

    said = ratchet("promote", "nosuch", "--override", "x", code=2)
    assert "nosuch" in said


def test_an_evaluation_and_a_reindex_move_nothing(project, ratchet, double):
    index = json.loads(ratchet("reindex", "--json"))
    assert index["embedded"] == 0
    made = json.loads(ratchet("evaluate", "configs/baseline.yaml", "--cases", "5", "--json"))
    assert made["failures"] == 0
    assert len(double.requests) == 5
    assert json.loads(ratchet("releases", "--json"))[0]["champion"] is False
    checked = json.loads(ratchet("suite", "check", "--json"))
    assert (checked["cases"], checked["lost"]) == (len(project.cases), 0)


def test_ctrl_c_ends_a_run_that_has_no_prefect_server(project, double):
    # A terminal interrupts every process of a command, Prefect's temporary server too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    double.delay_s = 600.0
    try:
        running = subprocess.Popen(
            [project.ratchet, "evaluate", "--cases", "2"],
            cwd=project.root,
            env=project.environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    while not double.requests and running.poll() is None:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate()[1]
    assert running.returncode == 130, said
    assert "the same command continues" in said
    assert "Traceback" not in said
