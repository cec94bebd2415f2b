"""One lock file -> one virtual environment, trusted only when its stamp says that it is whole."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
from pathlib import Path

STAMP = "ratchet-stamp.json"
MARKER = "ratchet-making"
_TAIL = 12
_WRITING = "writing the packages"


class Failed:
    """Why an environment couldn't be made."""

    def __init__(self, message: str, next_step: str, log: Path, tail: list[str]) -> None:
        self.message = message
        self.next_step = next_step
        self.log = log
        self.tail = tail


class Environment:
    """One virtual environment of the project.

    Args:
        name: `main` or `serving`.
        root: the project's directory.
        directory: of the environment.
        lock: exact versions, one a line.
        python: that makes it.
        log: gets everything that pip says.
        resolve: whether pip may add what the lock's packages ask for.
        project: whether the project itself is installed into it, editable.

    `hold` is a file descriptor that every command inherits: the lock of this setup. Should setup
    be killed, the next one waits until the last command, which lives on, has ended too.
    """

    def __init__(
        self,
        name: str,
        *,
        root: Path,
        directory: Path,
        lock: Path,
        python: Path,
        log: Path,
        resolve: bool,
        project: bool,
    ) -> None:
        self.name = name
        self.root = root
        self.directory = directory
        self.lock = lock
        self.python = python
        self.log = log
        self.resolve = resolve
        self.project = project
        self.step = "waiting"
        self.failure: Failed | None = None
        self.hold: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._total = sum(1 for line in lock.read_text().splitlines() if _is_requirement(line))

    def stamp(self) -> dict[str, str]:
        """What a whole environment was made from; another value means another environment."""
        version = subprocess.run(
            [str(self.python), "-c", "import sys; print(sys.version)"],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout.decode()
        made_from = {
            "lock": _sha256(self.lock),
            "python": version.strip(),
            "machine": platform.machine(),
            # Its scripts name this directory, so that a moved environment is a broken one.
            "directory": str(self.directory),
        }
        if self.project:
            made_from["project"] = _sha256(self.root / "pyproject.toml")
        return made_from

    def doing(self) -> str:
        """What happens now, in a few words."""
        if self.step != _WRITING:
            return self.step
        # pip says nothing while it writes, which takes longer than all the rest.
        written = len(list(self.directory.glob("lib/python*/site-packages/*.dist-info")))
        return f"{self.step}, {min(written, self._total)} of {self._total}"

    def is_ready(self) -> bool:
        """Whether the environment is whole and made from what is wanted now."""
        python = self.directory / "bin" / "python"
        return python.exists() and self._stamped() == self.stamp()

    def must_be_made(self) -> bool:
        """Whether it has to be made from nothing, and not only told about the project."""
        if not (self.directory / "bin" / "python").exists():
            return True
        stamped, wanted = self._stamped() or {}, self.stamp()
        return {**stamped, "project": ""} != {**wanted, "project": ""}

    def make(self) -> None:
        """Make the environment, or set `failure`."""
        try:
            if self.must_be_made():
                self._create()
                self._install()
            if self.project:
                self._install_project()
            self._check()
            # Last, and in one step: an environment without it is never trusted.
            partial = self.directory / (STAMP + ".partial")
            partial.write_text(json.dumps(self.stamp(), indent=2))
            partial.rename(self.directory / STAMP)
            self.step = "ready"
        except _StepFailed as failed:
            self.step = "failed"
            self.failure = Failed(f"{self.directory.name}: {failed} failed.", *self._translated())
        except OSError as error:
            self.step = "failed"
            self.failure = Failed(
                f"{self.directory.name}: {error}", "Mend that, then: make setup", self.log, []
            )

    def cancel(self) -> None:
        """End what runs now."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def _stamped(self) -> dict[str, str] | None:
        try:
            stamp: dict[str, str] = json.loads((self.directory / STAMP).read_text())
        except (OSError, ValueError):
            return None
        return stamp

    def _create(self) -> None:
        self.step = "making the environment"
        self.log.write_text("")
        if self.directory.exists():
            ours = [(self.directory / name).exists() for name in (STAMP, MARKER)]
            if not any(ours):
                raise OSError(
                    f"{self.directory} exists, and make setup didn't make it. "
                    f"If you don't need it: rm -r {self.directory}"
                )
            # Without its stamp first: if this is cut off, the rest is not trusted.
            (self.directory / STAMP).unlink(missing_ok=True)
            (self.directory / MARKER).touch()
            for path in self.directory.iterdir():
                if path.name != MARKER:
                    shutil.rmtree(
                        path
                    ) if path.is_dir() and not path.is_symlink() else path.unlink()
        self.directory.mkdir(exist_ok=True)
        (self.directory / MARKER).touch()
        self._run("making the environment", [self.python, "-m", "venv", self.directory])

    def _install(self) -> None:
        arguments = [] if self.resolve else ["--no-deps"]
        self._pip("installing " + self.lock.name, [*arguments, "-r", self.lock])

    def _install_project(self) -> None:
        # The stamp says that the project is installed too.
        (self.directory / STAMP).unlink(missing_ok=True)
        (self.directory / MARKER).touch()
        self.step = "installing the project"
        self._pip("installing the project", ["--no-deps", "--no-build-isolation", "-e", self.root])

    def _check(self) -> None:
        if self.resolve:
            self.step = "checking"
            self._run("pip check", [self.directory / "bin" / "python", "-m", "pip", "check"])

    def _pip(self, what: str, arguments: list[str | Path]) -> None:
        python = self.directory / "bin" / "python"
        options = ["--no-input", "--progress-bar", "off", "--disable-pip-version-check"]
        self._run(what, [python, "-m", "pip", "install", *options, *arguments])

    def _run(self, what: str, command: list[str | Path]) -> None:
        collected = 0
        with self.log.open("a") as log:
            log.write("$ {}\n".format(" ".join(str(part) for part in command)))
            log.flush()
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=str(self.root),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=() if self.hold is None else (self.hold,),
            )
            for raw in self._process.stdout or ():
                line = raw.decode("utf-8", "replace")
                log.write(line)
                log.flush()
                if line.startswith("Collecting "):
                    collected += 1
                    package = re.split(r"[=<>\[ ]", line.split()[1])[0]
                    self.step = f"{collected} of {max(self._total, collected)}, {package}"
                elif line.startswith("Installing collected packages"):
                    self.step = _WRITING
            code = self._process.wait()
        if code:
            raise _StepFailed(f"{what} (exit code {code})")

    def _translated(self) -> tuple[str, Path, list[str]]:
        """The next step that fits what pip said, the log, and its last lines."""
        text = self.log.read_text(errors="replace")
        tail = [line for line in text.splitlines() if line.strip()][-_TAIL:]
        return _next_step(text, self.lock), self.log, tail


class _StepFailed(Exception):
    """A command ended with an error."""


def environments(root: Path, python: Path, logs: Path) -> list[Environment]:
    """Both environments of the project; configs/services.yaml says which serving lock."""
    device = _device(root)
    return [
        Environment(
            "main",
            root=root,
            directory=root / ".venv",
            lock=root / "requirements" / "main.txt",
            python=python,
            log=logs / "setup-main.log",
            resolve=True,
            project=True,
        ),
        Environment(
            "serving",
            root=root,
            directory=root / ".venv-serve",
            lock=root / "requirements" / (f"serving-{device}.txt"),
            python=python,
            log=logs / "setup-serving.log",
            resolve=device == "gpu",
            project=False,
        ),
    ]


def freeze(root: Path, name: str, logs: Path) -> Path:
    """Write the versions that an environment has now into its lock, below the lock's comments."""
    one = next(
        one
        for one in environments(root, root / ".venv" / "bin" / "python", logs)
        if one.name == name
    )
    listed = subprocess.run(
        [str(one.directory / "bin" / "python"), "-m", "pip", "freeze", "--all"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    versions = [
        line
        for line in listed.splitlines()
        if _is_requirement(line) and "==" in line and not line.startswith("pip==")
    ]
    if name == "main":
        # Both builds of torch fit the main environment; see the lock's comment.
        versions = [re.sub(r"^(torch==[\d.]+)\+cpu$", r"\1", line) for line in versions]
    head = [line for line in one.lock.read_text().splitlines() if line.startswith("#")]
    one.lock.write_text("\n".join([*head, "", *versions]) + "\n")
    return one.lock


def _device(root: Path) -> str:
    # Before anything is installed there is no YAML parser; the setting is one word on one line.
    text = (root / "configs" / "services.yaml").read_text(encoding="utf-8")
    found = re.search(r"^\s+device:\s*[\"']?(cpu|gpu)\b", text, re.MULTILINE)
    return found.group(1) if found else "cpu"


def _next_step(log: str, lock: Path) -> str:
    if "No space left on device" in log:
        return "Free some space on the disk, then: make setup"
    unreachable = (
        "NewConnectionError|NameResolutionError|ConnectTimeout|Read timed out|ReadTimeout"
        "|ProxyError|Failed to establish a new connection|Temporary failure in name resolution"
        "|SSLError"
    )
    if re.search(unreachable, log):
        return (
            "The package registry can't be reached. Check the network, or name a registry that you "
            "can reach: PIP_INDEX_URL=... make setup   (see: python3 -m pip config list)"
        )
    missing = re.search(r"No matching distribution found for (\S+)", log)
    if missing and missing.group(1).startswith("torch=="):
        return (
            f"Your registry lacks {missing.group(1)}. PyTorch's CPU builds are on PyTorch's own "
            "CPU index: PIP_EXTRA_INDEX_URL=... make setup"
        )
    if missing:
        return (
            f"Your registry lacks {missing.group(1)} for this Python and machine. Correct that "
            f"line of {lock}, or name another registry: PIP_INDEX_URL=... make setup"
        )
    if re.search("ResolutionImpossible|conflicting dependencies|Invalid requirement", log):
        return f"Correct {lock}, or restore it with: git checkout -- {lock}"
    return "Read the log, mend the cause, then: make setup"


def _is_requirement(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("#", "-"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
