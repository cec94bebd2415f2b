"""Bytes of one file -> its title and text, parsed where a bad file can do no harm."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tasks.closing import Closing
from tasks.config import ParserLimits
from tasks.corpus.parse import Parsed, Unreadable, parse
from tasks.corpus.structure import Block

_WORKER = Path(__file__).with_name("parse_worker.py")
_ROOT = Path(__file__).parents[2]
# Plain text is decoded and nothing else: no input makes that hang.
_SENT = frozenset({".md", ".markdown", ".html", ".htm", ".xhtml", ".pdf"})
_PATIENCE_S, _PATIENCE = 120, 10
"""Wall time, in seconds and for each second of processor time, after which a parser is stuck.

A machine that is busy gives a process little processor time; a bad file alone never waits.
"""
# What a Python needs to start; keys and tokens of the caller are no business of a parser.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV")


class ParserProcess(Closing):
    """Parses Markdown, HTML and PDF in one other process, started when the first file comes.

    The process has no network, starts no programs, opens no files but Python's own, and lacks the
    caller's environment variables (`tasks/corpus/parse_worker.py`). It is replaced when a file ends
    it. Used as a context manager, it leaves no process behind.

    Args:
        limits: what one file may cost.
    """

    def __init__(self, limits: ParserLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __call__(self, data: bytes, suffix: str) -> Parsed | Unreadable:
        """Parse one file; whatever happens to the parser is a reason why there is no text."""
        if suffix.lower() not in _SENT:
            return parse(data, suffix=suffix)
        process = self._started()
        request = {"suffix": suffix, "size": len(data), "seconds": self._limits.seconds}
        patience = _PATIENCE_S + _PATIENCE * self._limits.seconds
        deadline = time.monotonic() + patience
        try:
            answer = _exchange(process, json.dumps(request).encode() + b"\n" + data, deadline)
        except TimeoutError:
            self.close()
            return Unreadable("unreadable", f"Its parser was stuck for {patience:g} s.")
        if answer is None:
            return Unreadable("over_limit", self._why_it_ended())
        if "unreadable" in answer:
            return Unreadable(*answer["unreadable"])
        title, text, blocks, hidden = answer["parsed"]
        return Parsed(title, text, tuple(Block(*block) for block in blocks), tuple(hidden))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            # Waits for it, and closes the pipes.
            self._process.communicate()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._folder = tempfile.TemporaryDirectory()
            memory = self._limits.memory_mb * 2**20
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(_WORKER), str(_ROOT), str(memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=self._folder.name,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            )
            for pipe in (self._process.stdin, self._process.stdout):
                os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]
        return self._process

    def _why_it_ended(self) -> str:
        process, self._process = self._process, None
        code = None
        if process is not None:
            process.communicate()
            code = process.returncode
        self.close()
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return f"Its parser needs over {self._limits.seconds:g} s."
        return f"It ended its parser, with exit status {code}."


def _exchange(
    process: subprocess.Popen[bytes], message: bytes, deadline: float
) -> dict[str, Any] | None:
    """Send a message and wait for a line; None when the process ended.

    Raises:
        TimeoutError: the deadline, of `time.monotonic`, is over.
    """
    if process.stdin is None or process.stdout is None:
        raise ValueError("expected a process with pipes")
    rest, answer = memoryview(message), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fileobj is process.stdout:
                    part = os.read(process.stdout.fileno(), 1 << 20)
                    if not part:
                        return None
                    answer += part
                    continue
                try:
                    rest = rest[os.write(process.stdin.fileno(), rest) :]
                except BrokenPipeError:
                    return None
                if not rest:
                    selector.unregister(process.stdin)
    found: dict[str, Any] = json.loads(answer)
    return found
