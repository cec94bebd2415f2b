"""Forked processes that tests race with, kill and count."""

import multiprocessing
import os
import sys
import traceback
from multiprocessing.context import ForkProcess

FORK = multiprocessing.get_context("fork")


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
