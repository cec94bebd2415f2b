"""Which code made a number: commit and package versions, for every record."""

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("faiss-cpu", "ir-measures", "numpy", "ragas", "sentence-transformers", "torch")
"""Packages that a score depends on."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Commit of the project (None outside a repository), whether files differ, versions by name."""

    git_commit: str | None
    git_dirty: bool | None
    versions: dict[str, str]


def read_provenance(root: Path) -> Provenance:
    """Ask git and the installed packages."""
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain") if commit else None
    return Provenance(
        git_commit=commit,
        git_dirty=None if status is None else bool(status),
        versions={"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    )


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
