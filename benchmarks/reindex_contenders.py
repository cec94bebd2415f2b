"""Who re-indexes in P1 and P2, each in processes of its own, so that imports and state count."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, process_environment
from benchmarks.unchanged_corpus import WALK

LIMIT_S = 180.0
"""A process that needs longer is stopped, and has no figure."""


@dataclass(frozen=True)
class Contender:
    """One way of re-indexing a folder."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    package: str = "tasks"
    has_index: bool = True
    """Whether an index comes out, and not only its chunks."""

    @property
    def is_installed(self) -> bool:
        """Whether it can be imported here."""
        return find_spec(self.package) is not None

    def run(self, home: Path, *, limit_s: float = LIMIT_S) -> tuple[float, dict[str, Any]] | None:
        """Re-index once: wall time from start to exit, and what it printed; None: too slow."""
        return run_python(
            ["-m", self.module, str(home), *self.arguments], project=home, limit_s=limit_s
        )

    def check(self, home: Path) -> dict[str, int]:
        """Compare its index with the files: see `benchmarks.reindex_checks`."""
        done = run_python(["-m", self.module, str(home), *self.arguments, "check"], project=home)
        if done is None:
            raise RuntimeError(f"{self.name}: the check took more than {LIMIT_S:.0f} s")
        checked: dict[str, int] = done[1]
        return checked

    def wanted(self, home: Path) -> set[str]:
        """Texts that the last check cut from the files."""
        return set(json.loads((home / "wanted.json").read_text()))


OWN = Contender("ratchet", "benchmarks.reindex_own")
PEERS = (
    *(
        Contender(f"LangChain index(), {mode}", "benchmarks.reindex_langchain", (mode,), package)
        for mode, package in (
            ("incremental", "langchain_classic"),
            ("scoped_full", "langchain_classic"),
            ("full", "langchain_classic"),
        )
    ),
    *(
        Contender(f"LlamaIndex, {mode}", "benchmarks.reindex_llamaindex", (mode,), "llama_index")
        for mode in ("upserts", "upserts_and_delete")
    ),
    Contender(
        "LlamaIndex, cache alone",
        "benchmarks.reindex_llamaindex",
        ("cache",),
        "llama_index",
        has_index=False,
    ),
)
PACKAGES = ("langchain-core", "langchain-classic", "langchain-community", "llama-index-core")


def walk(folder: Path) -> float:
    """Seconds of a process that looks at every file and opens none."""
    done = run_python(["-c", WALK, str(folder)])
    if done is None:
        raise RuntimeError(f"the walk took more than {LIMIT_S:.0f} s")
    return done[0]


def run_python(
    arguments: Sequence[str], *, project: Path | None = None, limit_s: float = LIMIT_S
) -> tuple[float, Any] | None:
    """Run Python; wall time, and the last line that it printed, read as JSON; None: too slow."""
    environment = process_environment()
    environment.pop("RATCHET_HOME", None)
    if project is not None:
        environment["RATCHET_PROJECT"] = str(project)
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return None
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return seconds, json.loads(done.stdout.splitlines()[-1])
