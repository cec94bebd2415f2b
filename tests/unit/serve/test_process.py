import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tasks.errors import SetupError
from tasks.serve.process import Daemon, Running, check_port
from tasks.serve.vllm import answers
from tasks.store import Home


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def daemon(home: Home) -> Iterator[Daemon]:
    daemon = Daemon("web", home)
    yield daemon
    daemon.stop(grace_s=1.0)


def start(daemon: Daemon, *command: str, url: str = "http://127.0.0.1:1") -> Running:
    return daemon.start(
        [sys.executable, *command], url=url, environment=dict(os.environ), directory=Path.cwd()
    )


def serve(daemon: Daemon, folder: Path) -> tuple[Running, str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ("-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder))
    return start(daemon, *command, url=url), url


def until(condition: object, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_starts_answers_and_stops(daemon: Daemon, tmp_path: Path) -> None:
    said: list[str] = []
    running, url = serve(daemon, tmp_path)

    daemon.wait(lambda: answers(url), timeout_s=20, progress=said.append)

    assert daemon.running() == running
    assert said[-1].startswith("web: ready")
    assert daemon.stop()
    assert daemon.running() is None
    assert not answers(url)
    assert not daemon.stop()


def test_a_server_outlives_the_process_that_started_it(home: Home, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tasks.serve.process import Daemon;"
        "from tasks.store import Home;"
        f"Daemon('web', Home(Path({str(home.root)!r}))).start([sys.executable, '-c',"
        " 'import time; time.sleep(60)'], url='u', environment=dict(os.environ),"
        " directory=Path.cwd())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    daemon = Daemon("web", home)

    running = daemon.running()

    assert running is not None
    assert os.getsid(running.pid) == running.pid
    assert daemon.stop()


def test_a_recycled_process_number_is_never_killed(daemon: Daemon) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        daemon.pid_file.parent.mkdir(parents=True)
        began = psutil.Process(stranger.pid).create_time()
        noted = {"pid": stranger.pid, "created": began - 500, "url": "u", "details": {}}
        daemon.pid_file.write_text(json.dumps(noted))

        assert daemon.running() is None
        assert not daemon.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_stop_takes_the_children_too_even_when_they_ignore_it(
    daemon: Daemon, tmp_path: Path
) -> None:
    note = tmp_path / "child"
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    code = (
        "import pathlib, subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}]);"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    start(daemon, "-c", code)
    until(lambda: note.exists() and note.read_text())
    pid = int(note.read_text())
    # Its handler must be there before the signal.
    until(lambda: "time.sleep" in " ".join(psutil.Process(pid).cmdline()))
    time.sleep(0.3)

    assert daemon.stop(grace_s=0.5)

    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


def test_workers_of_a_dead_server_are_swept_away(daemon: Daemon, tmp_path: Path) -> None:
    note = tmp_path / "child"
    code = (
        "import pathlib, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    running = start(daemon, "-c", code)
    until(lambda: note.exists() and note.read_text())
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: daemon.running() is None)

    assert daemon.stop(grace_s=2.0)

    pid = int(note.read_text())
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


def test_a_server_that_dies_at_start_is_reported_with_its_last_words(daemon: Daemon) -> None:
    start(daemon, "-c", "raise SystemExit('no such model')")

    with pytest.raises(SetupError, match="no such model") as caught:
        daemon.wait(lambda: False, timeout_s=20)

    assert str(daemon.log) in caught.value.next_step


def test_what_went_wrong_first_is_told_though_much_was_said_since(daemon: Daemon) -> None:
    words = ["WARNING 'OSError: many files'", "worker: ValueError: no such flag", *"abcdefghijklm"]
    start(daemon, "-c", f"print({chr(10).join(words)!r}); raise SystemExit(3)")
    with pytest.raises(SetupError) as caught:
        daemon.wait(lambda: False, timeout_s=30)
    told = [line.strip() for line in str(caught.value).splitlines()]
    assert told[1:4] == ["worker: ValueError: no such flag", "...", "b"]


def test_a_server_that_never_answers_is_stopped_and_its_stage_told(daemon: Daemon) -> None:
    said: list[str] = []
    code = "import time; print('Loading weights', flush=True); time.sleep(60)"
    start(daemon, "-c", code)

    with pytest.raises(SetupError, match=r"didn't answer within[\s\S]*loading the weights"):
        daemon.wait(
            lambda: False,
            timeout_s=2.0,
            stages={"Loading weights": "loading the weights"},
            progress=said.append,
        )

    assert any(line.startswith("web: loading the weights") for line in said)
    assert daemon.running() is None


def test_a_program_that_does_not_exist_is_named(daemon: Daemon) -> None:
    with pytest.raises(SetupError, match="no-such-program"):
        daemon.start(["no-such-program"], url="u", environment={}, directory=Path.cwd())


def test_a_second_start_is_refused(daemon: Daemon) -> None:
    running = start(daemon, "-c", "import time; time.sleep(60)")

    with pytest.raises(SetupError, match=str(running.pid)):
        start(daemon, "-c", "import time; time.sleep(60)")


def test_the_log_of_the_start_before_is_kept(daemon: Daemon) -> None:
    for word in ("first", "second"):
        start(daemon, "-c", f"print({word!r}); import time; time.sleep(60)")
        until(lambda: daemon.log.exists() and daemon.log.read_text())
        daemon.stop()

    assert "second" in daemon.log_tail()
    assert "first" in daemon.log.with_suffix(".log.1").read_text()


def test_what_was_logged_at_the_start_is_still_known_after_hours_of_work(daemon: Daemon) -> None:
    assert not daemon.has_logged("started")
    work = "print('web started'); [print(i) for i in range(100)]; print('busy', flush=True)"
    start(daemon, "-c", f"{work}; import time; time.sleep(60)")
    until(lambda: daemon.has_logged("busy"))

    assert "started" not in daemon.log_tail()
    assert daemon.has_logged("web started")


def test_an_unreadable_pid_file_means_that_nothing_runs(daemon: Daemon) -> None:
    daemon.pid_file.parent.mkdir(parents=True)
    daemon.pid_file.write_text("{")

    assert daemon.running() is None


def test_a_taken_port_names_the_process_that_has_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(SetupError, match=f"process {os.getpid()}") as caught:
            check_port("127.0.0.1", port, setting="vllm.port")

    assert "vllm.port" in caught.value.next_step
    check_port("127.0.0.1", port, setting="vllm.port")
