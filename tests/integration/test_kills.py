"""`kill -9` anywhere in the nightly run: production stays whole, and the next run finishes."""

import json
import os
import signal
import subprocess
import sys

import pytest

from flows.nightly import nightly
from registry import Registry
from tests.projects import PROMPTS

pytestmark = pytest.mark.integration

FIRST = "configs/baseline.yaml"

# Imports once what every run needs, which takes longer than the run. For each number that it reads,
# a fork runs the command line and kills itself when so many steps have ended; the code is told.
KILLED_AFTER = """
import os, signal, sys
import datasets, faiss, mlflow, sentence_transformers
import flows.nightly
from flows.cli import main
from prefect import Task
for line in sys.stdin:
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
left = int(line)
inner = Task.__call__
def call(self, *arguments, **options):
    global left
    result = inner(self, *arguments, **options)
    left -= 1
    if not left:
        print("killed after", self.name, file=sys.__stderr__, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return result
Task.__call__ = call
main()
"""
STEPS = (
    "snapshot the corpus",
    "index what changed",
    "test retrieval on old and new index",
    "report the re-index",
    "register the challenger",
    "evaluate",
    "plan",
    "measure the noise",
    "ask the judge again",
    "evaluate",
    "ask lost must-pass cases again",
    "compare the answers",
    "evaluate the single changes",
    "time the answers",
    "decide",
    "show in MLflow",
    "promote",
)


def whole_champion(project):
    """The prompt of the live release, after looking whether all of it is there."""
    view = json.loads(project.home.path("champion.json").read_text(encoding="utf-8"))
    with Registry(None, project.home) as registry:
        live = registry.champion()
    assert live.digest == view["digest"]
    assert project.home.path("index", live.index_digest, "manifest.json").is_file()
    return live.prompt.name


def events(project, kind):
    with Registry(None, project.home) as registry:
        return [event for event in registry.history() if event.kind == kind]


def test_killed_between_any_two_steps_the_next_run_goes_on_and_repeats_nothing(
    project, double, prefect_api, tmp_path
):
    project.edit("configs/services.yaml", prefect={"api_url": prefect_api})
    nightly(release=FIRST)
    environment = project.environment | {"PREFECT_API_URL": prefect_api}
    log = tmp_path / "killed.log"
    with (
        log.open("wb") as file,
        log.open(encoding="utf-8") as said,
        subprocess.Popen(
            [sys.executable, "-c", KILLED_AFTER, "nightly"],
            env=environment,
            cwd=project.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        ) as forks,
    ):
        for number, name in enumerate(STEPS, start=1):
            print(number, file=forks.stdin, flush=True)
            code, text = forks.stdout.readline(), said.read()
            assert code == f"{-signal.SIGKILL}\n", text
            assert f"killed after {name}\n" in text
            assert whole_champion(project) == ("answer" if name == "promote" else "baseline")
    assert nightly(return_state=True).name == "Unchanged"
    # Every question was asked once a release, everything was recorded once, nothing is left over.
    assert len(double.requests) == 2 * len(project.cases)
    counts = {kind: len(events(project, kind)) for kind in ("registered", "evaluated", "decided")}
    assert counts == {"registered": 2, "evaluated": 2, "decided": 2}
    assert len(events(project, "promoted")) == 2
    assert len(events(project, "alpha_spent")) == 1
    assert not list(project.home.root.glob("*/.*partial*"))


def test_killed_in_the_middle_of_an_evaluation_without_a_prefect_server(project, double):
    project.edit("configs/evaluate.yaml", in_flight=1)
    answered = 8
    honest = double.respond
    command = [str(project.ratchet), "nightly", "--release", FIRST]
    running = subprocess.Popen(
        command,
        env=project.environment,
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def kill(body):
        if len(double.requests) <= answered:
            return honest(body)
        # With the temporary Prefect server that it started.
        os.killpg(running.pid, signal.SIGKILL)
        raise ConnectionAbortedError

    double.respond = kill
    said, _ = running.communicate(timeout=120)
    assert running.returncode == -signal.SIGKILL, said
    assert not project.home.path("champion.json").exists()

    double.respond = honest
    sent = len(double.requests)
    # The killed run's place is free: a run that waited for it would wait for ever.
    done = subprocess.run(
        command,
        env=project.environment,
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PROMOTE" in done.stdout
    assert len(double.requests) - sent == len(project.cases) - answered
    assert PROMPTS["baseline"] in double.requests[-1]["messages"][0]["content"]
    assert whole_champion(project) == "baseline"
