"""Which code made a number: commit and package versions, for every record."""

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("faiss-cpu", "ir-measures", "numpy", "ragas", "sentence-transformers", "torch")
"""Packages that a score depends on."""
_OPTIONAL = ("deepeval",)
"""The same, where they are installed."""

_DECIDING = (
    "flows",
    "tasks",
    "registry",
    "configs",
    "data/suites",
    "requirements",
    "pyproject.toml",
)
"""What a result depends on beside documents, which have a digest of their own. Changed reports,
DVC's lock or notes of a developer don't make a result another one."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Commit of the project (None outside a repository), whether files differ, versions by name."""

    git_commit: str | None
    git_dirty: bool | None
    """Whether code, configuration or suites differ from the commit."""
    versions: dict[str, str]

    @property
    def clean(self) -> bool:
        """Whether anybody can find this code again."""
        return is_clean(self.git_commit, self.git_dirty)


def is_clean(commit: str | None, dirty: bool | None) -> bool:
    """Whether a record names code that anybody can find again."""
    return commit is not None and dirty is False


def read_provenance(root: Path) -> Provenance:
    """Ask git and the installed packages."""
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--", *_DECIDING) if commit else None
    return Provenance(
        git_commit=commit,
        git_dirty=None if status is None else bool(status),
        versions={"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES}
        | {name: version(name) for name in _OPTIONAL if find_spec(name) is not None},
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
