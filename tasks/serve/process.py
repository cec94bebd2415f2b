"""A command -> a server process that outlives this one, found again by its pid file."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tasks.errors import SetupError
from tasks.store import Home, locked, write_json

Progress = Callable[[str], None]

_SAME_START_S = 1.0
_POLL_S = 0.3
_HEARTBEAT_S = 10.0
_ERROR = re.compile(r"(?!.*WARNING).*\b[A-Z]\w*(?:Error|Exception): \S")

# A process between this one and the server: the server is then nobody's child, so that it
# neither dies with a terminal nor stays behind as a zombie of a long-lived flow.
_LAUNCHER = """
import json, subprocess, sys
spec = json.load(sys.stdin)
with open(spec["log"], "ab", buffering=0) as log:
    server = subprocess.Popen(spec["command"], cwd=spec["directory"], env=spec["environment"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
print(server.pid)
server.returncode = 0
"""


@dataclass(frozen=True, slots=True)
class Running:
    """One server process, as its pid file says."""

    pid: int
    created: float
    """Unix time at which the process began: another process of the same number has another."""
    url: str
    details: Mapping[str, str] = field(default_factory=dict)
    """What the starter wants to know about it later."""


class Daemon:
    """One named server process of a state directory.

    Args:
        name: of the pid file `run/<name>.json` and the log `logs/<name>.log`.
        home: the state directory.
    """

    def __init__(self, name: str, home: Home) -> None:
        self.name = name
        self.pid_file = home.path("run", f"{name}.json")
        self.log = home.path("logs", f"{name}.log")

    def running(self) -> Running | None:
        """The process, or None when it is gone, was never started, or its number was recycled."""
        noted = self._noted()
        return noted if noted is not None and _alive(noted) else None

    def start(
        self,
        command: Sequence[str],
        *,
        url: str,
        environment: Mapping[str, str],
        directory: Path,
        details: Mapping[str, str] | None = None,
    ) -> Running:
        """Start the process, detached; whether it gets healthy is `wait`'s business.

        Args:
            command: program and arguments.
            url: where it will answer.
            environment: all of it; nothing is added.
            directory: working directory.
            details: kept in the pid file.

        Raises:
            SetupError: it runs already, or the program can't be started.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.pid_file.with_suffix(".lock")):
            if found := self.running():
                raise SetupError(
                    f"{self.name} runs already (process {found.pid}, {found.url}).",
                    next_step="make down",
                )
            self._stop_members(grace_s=5.0)
            if self.log.exists():
                self.log.replace(self.log.with_suffix(".log.1"))
            pid = _launch(command, self.log, directory, environment)
            try:
                created = psutil.Process(pid).create_time()
            except psutil.NoSuchProcess:
                # Dead already: `wait` reports it with the log, as it would a moment later.
                created = time.time()
            running = Running(pid, created, url, dict(details or {}))
            write_json(
                self.pid_file,
                {"pid": pid, "created": created, "url": url, "details": running.details},
            )
        return running

    def wait(
        self,
        healthy: Callable[[], bool],
        *,
        timeout_s: float,
        stages: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> float:
        """Wait until the server answers; seconds that it took.

        Args:
            healthy: asks the server; False while it doesn't answer.
            timeout_s: after this, the process is stopped.
            stages: text in a log line -> what to tell the user when it appears.
            progress: told each stage, and every ten seconds that the wait goes on.

        Raises:
            SetupError: the process died, or isn't healthy in time; with its last log lines.
        """
        began = spoke = time.monotonic()
        stage, position = "starting", 0
        while True:
            elapsed = time.monotonic() - began
            latest, position = self._stage(stages or {}, position)
            if latest not in (None, stage) or time.monotonic() - spoke > _HEARTBEAT_S:
                stage = latest or stage
                spoke = time.monotonic()
                if progress is not None:
                    progress(f"{self.name}: {stage} ({elapsed:.0f} s)")
            alive = self.running() is not None
            # In this order: what answers may be another server, while ours died of a taken port.
            if alive and healthy():
                if progress is not None:
                    progress(f"{self.name}: ready ({elapsed:.0f} s)")
                return elapsed
            if not alive:
                self.stop()
                raise SetupError(
                    f"{self.name} died {elapsed:.0f} s after it was started. Its last log lines:\n"
                    f"{self.log_tail()}",
                    next_step=f"Read {self.log}",
                )
            if elapsed > timeout_s:
                self.stop()
                raise SetupError(
                    f"{self.name} didn't answer within {timeout_s:g} s and was stopped; it was at: "
                    f"{stage}. Its last log lines:\n{self.log_tail()}",
                    next_step=f"Read {self.log}, or raise start_timeout_s in configs/services.yaml",
                )
            time.sleep(_POLL_S)

    def stop(self, *, grace_s: float = 30.0) -> bool:
        """Ask the process to end, and kill what is left of it after `grace_s` seconds.

        Returns:
            Whether there was anything to stop.
        """
        with locked(self.pid_file.with_suffix(".lock")):
            stopped = self._stop_members(grace_s=grace_s)
            self.pid_file.unlink(missing_ok=True)
        return stopped

    def has_logged(self, text: str) -> bool:
        """Whether the process has written this text since it was started, however long ago."""
        try:
            with self.log.open(encoding="utf-8", errors="replace") as lines:
                return any(text in line for line in lines)
        except FileNotFoundError:
            return False

    def log_tail(self, lines: int = 12) -> str:
        """The first line that names an error and the last lines, cut to a readable width."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "  (no log)"
        whole = [line for line in text.splitlines() if line.strip()]
        tail = whole[-lines:]
        # What a server of several processes says last is mostly that another one has failed.
        if cause := next(filter(_ERROR.match, whole[:-lines]), None):
            tail = [cause, "...", *tail]
        return "\n".join(f"  {line[:240]}" for line in tail) or "  (the log is empty)"

    def _noted(self) -> Running | None:
        try:
            return Running(**json.loads(self.pid_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _stage(self, stages: Mapping[str, str], position: int) -> tuple[str | None, int]:
        """The newest stage after a position in the log, and where to read on."""
        try:
            with self.log.open("rb") as file:
                file.seek(position)
                fresh = file.read()
        except FileNotFoundError:
            return None, position
        whole, _, _ = fresh.rpartition(b"\n")
        found = None
        for line in whole.decode("utf-8", "replace").splitlines():
            found = next((stage for text, stage in stages.items() if text in line), found)
        return found, position + len(whole)

    def _stop_members(self, *, grace_s: float) -> bool:
        noted = self._noted()
        if noted is None:
            return False
        members = _members(noted)
        if not members:
            return False
        leader = [process for process in members if process.pid == noted.pid]
        # The leader ends its own children in order; those without a leader are asked themselves.
        for process in leader or members:
            _signal(process, signal.SIGTERM)
        psutil.wait_procs(members, timeout=grace_s)
        left = _members(noted)
        for process in left:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=5.0)
        return True


def check_port(host: str, port: int, *, setting: str) -> None:
    """Make sure that a server could listen here.

    Args:
        host: address to listen on.
        port: port to listen on.
        setting: where a user changes it, for the message.

    Raises:
        SetupError: the port is taken; names the process where the system tells.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SetupError(
                f"{host}:{port} can't be used: {_listener(port) or error.strerror or error}.",
                next_step=f"Stop that process, or set another port: {setting} in "
                "configs/services.yaml",
                port=port,
            ) from error


def _listener(port: int) -> str | None:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        # laddr is empty for a socket that has no address yet.
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port:
            if connection.pid is None:
                return "another user's process listens there"
            try:
                command = " ".join(psutil.Process(connection.pid).cmdline())
            except psutil.Error:
                command = "?"
            return f"process {connection.pid} listens there ({command[:120]})"
    return None


def _launch(
    command: Sequence[str], log: Path, directory: Path, environment: Mapping[str, str]
) -> int:
    spec = {
        "command": list(command),
        "log": str(log),
        "directory": str(directory),
        "environment": dict(environment),
    }
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        reason = (result.stderr.strip() or "no message").splitlines()[-1]
        raise SetupError(f"{command[0]!r} can't be started: {reason}.", next_step="ratchet doctor")
    return int(result.stdout)


def _alive(noted: Running) -> bool:
    try:
        process = psutil.Process(noted.pid)
        same = abs(process.create_time() - noted.created) < _SAME_START_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _members(noted: Running) -> list[psutil.Process]:
    """Every living process of the server's session, and none when the number was recycled."""
    if psutil.pid_exists(noted.pid) and not _alive(noted):
        try:
            if psutil.Process(noted.pid).status() != psutil.STATUS_ZOMBIE:
                return []
        except psutil.NoSuchProcess:
            pass
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            in_session = os.getsid(process.pid) == noted.pid
        except (ProcessLookupError, PermissionError):
            continue
        if in_session and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
