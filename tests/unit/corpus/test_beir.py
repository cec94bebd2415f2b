import gzip
import json
from pathlib import Path

import pytest

from tasks.config import BeirSource
from tasks.corpus.beir import read_beir
from tasks.corpus.document import Document, Problem
from tasks.errors import CorpusError


def read(path: Path, *, max_bytes: int = 1_000) -> list[Document | Problem]:
    source = BeirSource(kind="beir", name="papers", path=Path(path.name))
    return list(read_beir(source, root=path.parent, max_document_bytes=max_bytes))


def write(path: Path, *lines: object) -> Path:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(texts) + b"\n")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "corpus.jsonl"


def test_a_line_is_a_document(file: Path):
    row = {"_id": "7", "title": "A\ntitle", "text": "Text \r\n here.", "metadata": {"year": 2020}}
    (document,) = read(write(file, row))
    assert document == Document(
        "7", "A title", "Text\n here.", {"source": "papers", "year": "2020"}
    )


def test_a_document_without_a_title_is_named_by_its_id(file: Path):
    first, second = read(
        write(file, {"_id": "a", "text": "x"}, {"_id": 8, "title": "", "text": "y"})
    )
    assert (first.title, second.title, second.doc_id) == ("a", "8", "8")


def test_bad_lines_are_problems_by_name_and_the_rest_is_read(file: Path):
    found = read(
        write(
            file,
            b"{not json",
            b'{"_id": "latin", "text": "caf\xe9"}',
            {"_id": "empty", "title": "t", "text": " "},
            {"text": "no id"},
            {"_id": "number", "text": 7},
            ["a", "list"],
            {"_id": "huge", "text": "x" * 1_000},
            b"[" * 900,
            b"",
            {"_id": "good", "text": "Text."},
        )
    )
    assert [(item.name, item.reason) for item in found if isinstance(item, Problem)] == [
        ("corpus.jsonl:1", "broken"),
        ("corpus.jsonl:2", "wrong_encoding"),
        ("empty", "empty"),
        ("corpus.jsonl:4", "broken"),
        ("number", "broken"),
        ("corpus.jsonl:6", "broken"),
        ("corpus.jsonl:7", "too_large"),
        ("corpus.jsonl:8", "broken"),
    ]
    assert [item.doc_id for item in found if isinstance(item, Document)] == ["good"]


def test_a_lone_surrogate_does_not_stop_the_reading(file: Path):
    found = read(write(file, b'{"_id": "a", "text": "x \\ud800 y"}', b'{"_id": "\\ud800"}'))
    assert isinstance(found[0], Document)
    assert found[0].text.encode().startswith("x \ufffd".encode())
    assert isinstance(found[1], Problem)


def test_a_line_too_long_is_not_kept_and_its_size_is_told(file: Path):
    (problem,) = read(write(file, b"x" * 5_000_000), max_bytes=100)
    assert problem.detail == "5,000,001 bytes; max_document_bytes is 100."


def test_a_directory_and_gzip_are_read_too(tmp_path: Path):
    folder = tmp_path / "papers"
    folder.mkdir()
    packed = gzip.compress(b'{"_id": "a", "text": "x"}\n')
    (folder / "corpus.jsonl.gz").write_bytes(packed)
    assert [item.doc_id for item in read(folder)] == ["a"]
    assert [item.doc_id for item in read(folder / "corpus.jsonl.gz")] == ["a"]


def test_a_truncated_gzip_file_is_an_error(tmp_path: Path):
    file = tmp_path / "corpus.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"_id": "a", "text": "x"}\n' * 1_000)[:-20])
    with pytest.raises(CorpusError, match="after line"):
        read(file)


def test_a_missing_file_is_an_error_that_says_where_to_look(file: Path):
    with pytest.raises(CorpusError) as raised:
        read(file)
    assert "corpus.jsonl" in raised.value.message
    assert raised.value.next_step
