import json
from pathlib import Path

import pytest

from tasks.config import BeirSource, CorpusSettings, FolderSource, PythonSource
from tasks.corpus.document import Document, Problem
from tasks.corpus.snapshot import (
    CorpusDiff,
    compare,
    load_snapshot,
    make_snapshot,
    read_corpus,
    save_snapshot,
)
from tasks.errors import CorpusError, CorruptArtifact


def folder(name: str) -> FolderSource:
    return FolderSource(kind="folder", name=name, path=Path(name))


def beir(name: str) -> BeirSource:
    return BeirSource(kind="beir", name=name, path=Path(f"{name}.jsonl"))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def row(doc_id: str, text: str) -> str:
    return json.dumps({"_id": doc_id, "text": text}) + "\n"


def document(doc_id: str, text: str = "Text.", title: str = "Title") -> Document:
    return Document(doc_id, title, text, {"source": "docs"})


def test_a_corpus_holds_the_documents_of_all_sources(tmp_path: Path):
    write(tmp_path, {"docs/b.md": "B", "docs/a.md": "A", "papers.jsonl": row("1", "C")})
    settings = CorpusSettings(
        sources=(
            folder("docs"),
            beir("papers"),
            PythonSource(kind="python", name="python", packages=("heapq",)),
        )
    )
    seen: list[int] = []
    snapshot = read_corpus(settings, root=tmp_path, progress=seen.append)
    ids = [item.doc_id for item in snapshot.documents]
    assert ids == sorted(ids)
    assert {"1", "docs/a.md", "docs/b.md", "heapq.nsmallest"} <= set(ids)
    assert seen[-1] == len(snapshot.documents) + len(snapshot.problems)


def test_a_second_document_of_an_id_or_text_is_a_problem_that_names_the_first(tmp_path: Path):
    write(
        tmp_path,
        {
            "one.jsonl": row("1", "A") + row("1", "B") + row("2", "A") + row("3", "C"),
            "two.jsonl": row("3", "D") + row("4", "C"),
        },
    )
    snapshot = read_corpus(CorpusSettings(sources=(beir("one"), beir("two"))), root=tmp_path)
    assert [item.doc_id for item in snapshot.documents] == ["1", "3", "4"]
    assert [(item.source, item.name, item.reason) for item in snapshot.problems] == [
        ("one", "1", "duplicate"),
        ("one", "2", "duplicate"),
        ("two", "3", "duplicate"),
    ]
    assert "'1'" in snapshot.problems[1].detail
    assert "'one'" in snapshot.problems[2].detail


def test_problems_of_single_documents_stop_nothing(tmp_path: Path):
    write(tmp_path, {"docs/a.md": "A", "docs/empty.md": "", "docs/bad.pdf": "no"})
    snapshot = read_corpus(CorpusSettings(sources=(folder("docs"),)), root=tmp_path)
    assert [item.doc_id for item in snapshot.documents] == ["docs/a.md"]
    assert [(item.name, item.reason) for item in snapshot.problems] == [
        ("bad.pdf", "broken"),
        ("empty.md", "empty"),
    ]


def test_a_source_with_nothing_in_it_is_reported(tmp_path: Path):
    write(tmp_path, {"docs/.gitignore": "*", "papers.jsonl": row("1", "A")})
    settings = CorpusSettings(sources=(folder("docs"), beir("papers")))
    snapshot = read_corpus(settings, root=tmp_path)
    assert [item.doc_id for item in snapshot.documents] == ["1"]
    assert [(item.name, item.reason) for item in snapshot.problems] == [("docs", "empty")]


def test_a_source_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(CorpusError, match="'docs'"):
        read_corpus(CorpusSettings(sources=(folder("docs"),)), root=tmp_path)


def test_the_digest_is_that_of_the_content_and_of_nothing_else(tmp_path: Path):
    one = write(tmp_path / "one", {"docs/a.md": "A", "docs/b.md": "B"})
    two = write(tmp_path / "two", {"docs/b.md": "B", "docs/a.md": "A \r\n", "docs/empty.md": ""})
    settings = CorpusSettings(sources=(folder("docs"),))
    first, second = read_corpus(settings, root=one), read_corpus(settings, root=two)
    assert first.digest == second.digest
    (two / "docs" / "b.md").write_text("B!")
    assert read_corpus(settings, root=two).digest != first.digest


@pytest.mark.parametrize(
    "other",
    [
        Document("a", "Title", "Other.", {"source": "docs"}),
        Document("a", "Other", "Text.", {"source": "docs"}),
        Document("a", "Title", "Text.", {"source": "docs", "path": "x"}),
        Document("b", "Title", "Text.", {"source": "docs"}),
    ],
)
def test_every_field_of_a_document_is_part_of_the_digest(other: Document):
    assert make_snapshot([other], []).digest != make_snapshot([document("a")], []).digest


def test_a_stored_snapshot_is_loaded_as_it_was(tmp_path: Path):
    problem = Problem("docs", "b.md", "empty", "0 bytes.")
    snapshot = make_snapshot([document("ä/b"), document("a", "Zeile\n\n𝔘")], [problem])
    directory = save_snapshot(snapshot, tmp_path)
    assert directory == tmp_path / snapshot.digest
    assert load_snapshot(directory) == snapshot


def test_saving_again_replaces_only_the_problems(tmp_path: Path):
    documents = [document("a")]
    directory = save_snapshot(make_snapshot(documents, []), tmp_path)
    before = (directory / "documents.parquet").stat().st_mtime_ns
    newer = make_snapshot(documents, [Problem("docs", "b.md", "empty", "0 bytes.")])
    assert save_snapshot(newer, tmp_path) == directory
    assert (directory / "documents.parquet").stat().st_mtime_ns == before
    assert load_snapshot(directory) == newer


@pytest.mark.parametrize("name", ["documents.parquet", "manifest.json"])
def test_a_changed_byte_is_noticed(tmp_path: Path, name: str):
    directory = save_snapshot(make_snapshot([document("a"), document("b")], []), tmp_path)
    data = bytearray((directory / name).read_bytes())
    data[len(data) // 2] ^= 1
    (directory / name).write_bytes(data)
    with pytest.raises(CorruptArtifact, match="damaged") as raised:
        load_snapshot(directory)
    assert str(directory) in raised.value.next_step


@pytest.mark.parametrize("name", ["documents.parquet", "manifest.json", "problems.json"])
def test_a_missing_file_is_noticed(tmp_path: Path, name: str):
    directory = save_snapshot(make_snapshot([document("a")], []), tmp_path)
    (directory / name).unlink()
    with pytest.raises(CorruptArtifact):
        load_snapshot(directory)


def test_a_snapshot_under_another_name_is_noticed(tmp_path: Path):
    directory = save_snapshot(make_snapshot([document("a")], []), tmp_path)
    with pytest.raises(CorruptArtifact):
        load_snapshot(directory.rename(tmp_path / ("0" * 64)))


def test_a_snapshot_that_is_not_there_is_the_users_business(tmp_path: Path):
    with pytest.raises(CorpusError):
        load_snapshot(tmp_path / "0")


def test_comparing_tells_added_changed_and_removed_documents():
    old = make_snapshot([document("a"), document("b"), document("c"), document("d")], [])
    new = make_snapshot([document("a"), document("b", "New."), document("e"), document("d")], [])
    diff = compare(old, new)
    assert diff == CorpusDiff(added=("e",), changed=("b",), removed=("c",))
    assert diff
    assert not compare(old, old)


def test_the_digest_of_a_known_corpus_changes_only_with_the_version():
    # If this fails, documents or their digests changed: bump SNAPSHOT_VERSION, then this value.
    snapshot = make_snapshot([document("a"), document("b", "Zwei.\n\nTexte")], [])
    assert snapshot.digest == "2969ec21fd19b5dc4784750d7782d51181c7fd867cd284115846773676265a19"
