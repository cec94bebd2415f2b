"""Forked processes that tests race with, kill and count."""

import multiprocessing
import os
import subprocess
import sys
import traceback
from multiprocessing.context import ForkProcess
from pathlib import Path

FORK = multiprocessing.get_context("fork")


def printed_by(program: str, *arguments: object) -> str:
    """What a Python process of its own prints, which has loaded nothing but what it asks for."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        check=True,
        cwd=Path.cwd(),
        capture_output=True,
        text=True,
    )
    return done.stdout


class Child(ForkProcess):
    """A fork that ends with its work: exit code 0, or 1 after an error that it prints.

    What libraries registered for the end of the parent isn't the child's to do: Prefect's services,
    once a test has loaded them, would wait for threads that no fork has.
    """

    def run(self) -> None:
        """Do the work and end, without flushing what the parent was about to write."""
        try:
            super().run()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
