"""What of a source can be read by itself, with a stamp that tells whether it was changed."""

from dataclasses import dataclass

from tasks.corpus.document import Problem

_GRANULARITY_NS = 2_000_000_000
"""The coarsest timestamps of file systems in use: FAT's."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One file of a folder, or a whole source.

    Attributes:
        name: inside its source; unique there.
        stamp: equal as long as nothing that it is read from was changed.
        is_settled: whether a change from now on would change the stamp. A file that was written
            in this very moment could be written again within one tick of its clock, so it is read
            again next time (git calls such files racy).
        problem: why it can't be read; None where it can.
    """

    name: str
    stamp: str
    is_settled: bool = True
    problem: Problem | None = None


def file_stamp(size: int, mtime_ns: int, ctime_ns: int, inode: int) -> str:
    """The stamp of one file. Its change time, unlike its modification time, can't be set."""
    return f"{size} {mtime_ns} {ctime_ns} {inode}"


def is_settled(ctime_ns: int, now_ns: int) -> bool:
    """Whether a file that was changed then, and is looked at now, can't change unseen."""
    return ctime_ns < now_ns - _GRANULARITY_NS
