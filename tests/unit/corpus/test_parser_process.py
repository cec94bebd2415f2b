import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.config import ParserLimits
from tasks.corpus.parse import Parsed, Unreadable, parse
from tasks.corpus.parser_process import ParserProcess
from tests.pdf import make_pdf

ROOT = Path(__file__).parents[3]
# Elements of many names, none closed: parsing takes time by the square of the depth.
HANGS = "".join(f"<x{number}>" for number in range(400_000)).encode()


@pytest.fixture
def parser() -> Iterator[ParserProcess]:
    with ParserProcess(ParserLimits(seconds=3)) as process:
        yield process


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"# Head\n\n```\ncode\n```\n", ".md"),
        (b"<h1>Head</h1><p hidden>one two three four</p>", ".HTML"),
        (make_pdf("Text", title="Paper"), ".pdf"),
        (b"no pdf", ".pdf"),
        (b"caf\xe9", ".html"),
        (b"plain", ".txt"),
        ("lön".encode() * 300_000, ".md"),
        (b"", ".md"),
    ],
)
def test_a_file_gives_there_what_it_gives_here(parser: ParserProcess, data: bytes, suffix: str):
    assert parser(data, suffix) == parse(data, suffix=suffix)


def test_a_file_that_never_ends_is_given_up_and_the_next_is_read(parser: ParserProcess):
    found = parser(HANGS, ".html")
    assert found == Unreadable("over_limit", "Its parser needs over 3 s.")
    assert parser(b"# Head", ".md").text == "Head"


def test_a_file_that_needs_too_much_memory_is_given_up_and_the_next_is_read():
    with ParserProcess(ParserLimits(seconds=60, memory_mb=512)) as parser:
        found = parser(b"<p>x" * 10_000_000, ".html")
        assert isinstance(found, Unreadable)
        assert found.reason == "over_limit"
        assert parser(b"# Head", ".md").text == "Head"


def test_no_process_is_left_behind():
    with ParserProcess(ParserLimits()) as parser:
        parser(b"x", ".md")
        number = parser._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_plain_text_starts_no_process(parser: ParserProcess):
    assert parser(b"Text.", ".txt") == Parsed(None, "Text.")
    assert parser._process is None


@pytest.fixture
def server() -> Iterator[tuple[int, list[object]]]:
    """A port, and what connected to it."""
    seen: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                try:
                    connection, address = listening.accept()
                except TimeoutError:
                    continue
                connection.close()
                seen.append(address)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1], seen
        finally:
            ended.set()
            thread.join()


def test_no_document_makes_a_parser_connect(
    parser: ParserProcess, server: tuple[int, list[object]]
):
    port, seen = server
    url = f"http://127.0.0.1:{port}/x"
    parser(f"![image]({url}) <img src='{url}'>\n\n<iframe src='{url}'>".encode(), ".md")
    head = f"<link rel=stylesheet href='{url}'><base href='{url}'><meta http-equiv=refresh "
    page = f"<!DOCTYPE html SYSTEM '{url}'>{head}content='0;url={url}'><img src='{url}'>"
    parser(f"{page}<script src='{url}'></script><p>Text".encode(), ".html")
    parser(make_pdf("Text").replace(b"/Catalog", f"/Catalog /URI ({url})".encode()), ".pdf")
    socket.create_connection(("127.0.0.1", port)).close()
    while not seen:
        pass
    assert len(seen) == 1


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', {port}))",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import os; os.fork()",
        "open({path!r}, 'w').write('x')",
        "import os; os.open({path!r}, os.O_CREAT | os.O_WRONLY)",
        "open('/etc/passwd').read()",
    ],
)
def test_a_parser_that_was_taken_over_has_no_network_no_programs_and_no_files(
    tmp_path: Path, server: tuple[int, list[object]], code: str
):
    path = tmp_path / "written"
    script = (
        "from tasks.corpus.parse_worker import give_up_rights\n"
        "give_up_rights(2**31)\n" + code.format(port=server[0], path=str(path))
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "no right to" in done.stderr
    assert not server[1]
    assert not path.exists()
