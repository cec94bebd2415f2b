"""The `ratchet` command as a process, on the state that nightly runs left."""

import json
import os
import signal
import subprocess
import time

import pytest

from flows.nightly import nightly
from tasks.serve.cache import CallCache

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


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "Interrupted"),
        (signal.SIGTERM, 143, "Terminated"),
        (signal.SIGHUP, 129, "Terminated"),
    ],
)
def test_a_signal_to_all_its_processes_ends_a_run_that_has_no_prefect_server(
    project, double, number: signal.Signals, code: int, word: str
):
    # A terminal, `timeout` and systemd signal Prefect's temporary server, too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    honest = double.respond

    def answer_one(body):
        if len(double.requests) > 1:
            double.closing.wait()
        return honest(body)

    double.respond = answer_one
    project.edit("configs/evaluate.yaml", in_flight=1)
    try:
        running = subprocess.Popen(
            [project.ratchet, "evaluate", "--cases", "3"],
            cwd=project.root,
            env=project.environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    while len(double.requests) < 2 and running.poll() is None:
        time.sleep(0.1)
    os.killpg(running.pid, number)
    # The pipe ends with the last of its processes.
    said = running.communicate(timeout=120)[1]
    assert running.returncode == code, said
    assert f"{word}. What was finished is stored; the same command continues." in said
    assert "Traceback" not in said
    # The answered call isn't lost.
    with CallCache(project.home.path("cache")) as calls:
        assert len(list(calls.keys())) == 1
