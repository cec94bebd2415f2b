"""Does this machine have what Ratchet needs, before anything is downloaded?"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
DISK_GB = 12
MEMORY_GB = 8


class Problem(Exception):
    """Something that the user has to change first."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


def find_python() -> Path:
    """A Python of the right version: the running one, else the newest on PATH.

    Raises:
        Problem: there is none; names what was found.
    """
    found = sys.version_info[:2]
    if OLDEST <= found <= NEWEST:
        return Path(sys.executable)
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        path = shutil.which(f"python3.{minor}")
        # Asked, because a version manager's placeholder may stand for a Python that isn't there.
        if path and _version(path) == (3, minor):
            return Path(path)
    oldest, newest = f"3.{OLDEST[1]}", f"3.{NEWEST[1]}"
    raise Problem(
        f"Ratchet needs Python {oldest} to {newest}; python3 is {found[0]}.{found[1]}, and PATH "
        f"has no python{oldest} to python{newest} that runs.",
        "Install one with your system's package manager, for example: apt install python3.11 "
        "python3.11-venv",
    )


def check_machine(root: Path, python: Path, *, serving: bool) -> None:
    """Check what an installation needs.

    Args:
        root: directory that gets the environments.
        python: that makes them.
        serving: whether vLLM is among them.

    Raises:
        Problem: something is missing.
    """
    if not _runs(python, "import venv, ensurepip"):
        major, minor = _version(str(python)) or OLDEST
        raise Problem(
            f"{python} can't make virtual environments: it has no venv or ensurepip module.",
            "Install your system's package for it, for example: "
            f"apt install python{major}.{minor}-venv",
        )
    free = shutil.disk_usage(root).free / 1e9
    if free < DISK_GB:
        raise Problem(
            f"The disk that holds {root} has {free:.1f} GB free; environments and weights need "
            f"{DISK_GB} GB.",
            "Free some space, or clone the project to a larger disk.",
        )
    if not serving:
        return
    if sys.platform != "linux":
        raise Problem(
            f"vLLM's packages are made for Linux; this is {platform.system()}.",
            "Use a server elsewhere: set vllm.endpoint in configs/services.yaml, then: make setup "
            "ONLY=main",
        )
    if shutil.which("lscpu") is None:
        # vLLM asks it for the processor's layout, and doesn't start without it.
        raise Problem(
            "There is no lscpu on PATH, and vLLM doesn't start without it.",
            "Install it with your system's package manager, for example: apt install util-linux",
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    if memory < MEMORY_GB:
        raise Problem(
            f"This machine has {memory:.1f} GB of memory; vLLM with the default model needs "
            f"{MEMORY_GB} GB.",
            "Use a larger machine, or a server elsewhere: set vllm.endpoint in "
            "configs/services.yaml, then: make setup ONLY=main",
        )


def _runs(python: Path, code: str) -> bool:
    return not subprocess.run(
        [str(python), "-c", code], stderr=subprocess.DEVNULL, check=False
    ).returncode


def _version(python: str) -> tuple[int, int] | None:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        result = subprocess.run(
            [python, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
        major, minor = result.stdout.split()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return int(major), int(minor)
