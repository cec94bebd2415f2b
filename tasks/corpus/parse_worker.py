"""Files on standard input -> what they say on standard output: a script, in a process of its own.

`tasks/corpus/parser_process.py` runs this file. Before the first byte of a document it gives up
what a parser has no need of: the network, other programs, files, and more memory or time than a
limit. So a document that makes a parser hang, grow or misbehave ends this process and
nothing else.

For each file there is one line {"suffix", "size", "seconds"} and `size` bytes; for each there is
one line of answer, {"parsed": [title, text, blocks, hidden]} or {"unreadable": [reason, detail]}.
"""

import json
import math
import os
import resource
import sys
from typing import Any

_REFUSED = ("socket.", "subprocess.", "urllib.", "http.", "ftplib.", "smtplib.")
_REFUSED_EVENTS = frozenset(
    {"os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn"}
)


def give_up_rights(memory_bytes: int) -> None:
    """Lose, for the rest of this process, whatever no parser needs."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    modules = tuple(entry for entry in (sys.prefix, sys.base_prefix, *sys.path) if entry)

    def refuse_files(event: str, given: tuple[Any, ...]) -> None:
        # Modules that a parser imports are read; nothing else is opened, and nothing written.
        if event != "open":
            return
        path, mode, flags = given
        is_written = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or set(mode or "") & set("wax+")
        if is_written or not str(path).startswith(modules):
            raise PermissionError(f"A parser asked for {path!r}, which it has no right to.")

    sys.addaudithook(refuse)
    sys.addaudithook(refuse_files)


def refuse(event: str, _: tuple[Any, ...]) -> None:
    """Raise before a connection is opened or a program is started."""
    if event in _REFUSED_EVENTS or event.startswith(_REFUSED):
        raise PermissionError(f"A parser asked for {event}, which it has no right to.")


def main() -> None:
    """Answer until standard input ends."""
    root, memory_bytes = sys.argv[1], int(sys.argv[2])
    sys.path.insert(0, root)
    from tasks.corpus.parse import Unreadable, parse

    give_up_rights(memory_bytes)
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := source.readline():
        request = json.loads(line)
        data = source.read(request["size"])
        allow_seconds(request["seconds"])
        try:
            found = parse(data, suffix=request["suffix"])
        except MemoryError:
            found = Unreadable("over_limit", f"Its parser needs over {memory_bytes:,} bytes.")
        if isinstance(found, Unreadable):
            answer: dict[str, Any] = {"unreadable": [found.reason, found.detail]}
        else:
            blocks = [[b.kind, b.start, b.end, b.level] for b in found.blocks]
            answer = {"parsed": [found.title, found.text, blocks, list(found.hidden)]}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def allow_seconds(seconds: float) -> None:
    """Let the operating system end this process after so much more processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
