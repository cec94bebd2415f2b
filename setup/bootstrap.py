#!/usr/bin/env python3
"""A bare machine -> two environments that hold exactly what requirements/ says.

Standard library only, and readable by old Pythons: this is what says that a Python is too old.

    python3 setup/bootstrap.py                       make or check both environments
    python3 setup/bootstrap.py --only main|serving   one of them
    python3 setup/bootstrap.py --check main|serving  exit code 0 when it is whole, else 1
    python3 setup/bootstrap.py --freeze main|serving write an environment's versions to its lock
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from environment import Environment, Failed, environments, freeze
from machine import Problem, check_machine, find_python

ROOT = Path(__file__).resolve().parents[1]
_LINE_EVERY_S = 10.0


def main() -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("main", "serving"), help="one of the two environments")
    parser.add_argument("--freeze", choices=("main", "serving"), help="write a lock and end")
    parser.add_argument(
        "--check", choices=("main", "serving"), help="say by the exit code whether it is whole"
    )
    arguments = parser.parse_args()
    state = Path(os.environ.get("RATCHET_HOME") or ROOT / ".ratchet")
    (state / "logs").mkdir(parents=True, exist_ok=True)
    try:
        if arguments.check:
            every = environments(ROOT, find_python(), state / "logs")
            return 0 if all(one.is_ready() for one in every if one.name == arguments.check) else 1
        if arguments.freeze:
            print("wrote", freeze(ROOT, arguments.freeze, state / "logs"))
            return 0
        with (state / "setup.lock").open("a") as lock:
            _hold(lock)
            return _setup(arguments.only, state / "logs", lock.fileno())
    except Problem as problem:
        print(f"\nsetup: {problem.message}\nNext: {problem.next_step}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: stopped. Run it again: what is half-made is made anew.", file=sys.stderr)
        return 130


def _hold(lock: TextIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("setup: another setup runs in this directory; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _setup(only: str | None, logs: Path, lock: int) -> int:
    python = find_python()
    wanted = [one for one in environments(ROOT, python, logs) if only in (None, one.name)]
    missing = [one for one in wanted if not one.is_ready()]
    if not missing:
        return 0
    check_machine(ROOT, python, serving=any(one.name == "serving" for one in missing))
    whole = [one for one in missing if one.must_be_made()]
    if whole:
        names = " and ".join(one.directory.name for one in whole)
        print(f"setup: making {names}; a few minutes, and several GB of disk", flush=True)
    began = time.monotonic()
    for one in missing:
        one.hold = lock
    threads = [threading.Thread(target=one.make, daemon=True) for one in missing]
    for thread in threads:
        thread.start()
    try:
        _watch(missing, threads, began)
    except KeyboardInterrupt:
        for one in missing:
            one.cancel()
        raise
    failures = [one.failure for one in missing if one.failure is not None]
    for failure in failures:
        _explain(failure)
    if not failures:
        print(f"setup: ready after {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


def _watch(missing: list[Environment], threads: list[threading.Thread], began: float) -> None:
    """Show what each environment is doing: one live line on a terminal, else one every while."""
    live = sys.stdout.isatty()
    spoke = 0.0
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.2)
        now = time.monotonic()
        steps = "   ".join(f"{one.name}: {one.doing()}" for one in missing)
        line = f"  {now - began:3.0f} s  {steps}"
        if live:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + line[:width].ljust(width), end="", flush=True)
        elif now - spoke >= _LINE_EVERY_S:
            spoke = now
            print(line, flush=True)
    if live:
        print()


def _explain(failure: Failed) -> None:
    tail = "\n".join("  " + line[:200] for line in failure.tail)
    print(
        f"\nsetup: {failure.message}\nIts last log lines (all of them: {failure.log}):\n{tail}\n"
        f"Next: {failure.next_step}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
