import hashlib
import json
from pathlib import Path

import pytest

from tasks.config import BeirSource, CorpusSettings, FolderSource, PythonSource
from tasks.corpus import documents
from tasks.corpus.digests import CorpusDiff, DocumentDigests, compare_digests
from tasks.corpus.document import Document, Problem
from tasks.corpus.documents import document_tables
from tasks.corpus.stored import StoredSnapshot, open_snapshot, store_documents
from tasks.corpus.update import update_corpus
from tasks.errors import CorpusError, CorruptArtifact
from tests.corpora import MemorySnapshot


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


def read(root: Path, *sources: FolderSource | BeirSource | PythonSource) -> StoredSnapshot:
    """The first reading of a corpus."""
    settings = CorpusSettings(sources=sources)
    return update_corpus(
        settings, root=root, room=root / "room", readings=root / "readings"
    ).snapshot


def ids(snapshot: StoredSnapshot) -> list[str]:
    return [item.doc_id for item in snapshot.read()]


def store(snapshot: MemorySnapshot, room: Path) -> StoredSnapshot:
    rows = [(item, item.digest) for item in snapshot.documents]
    return store_documents(room, snapshot.digest, document_tables(rows), snapshot.problems)


def test_a_corpus_holds_the_documents_of_all_sources(tmp_path: Path):
    write(tmp_path, {"docs/b.md": "B", "docs/a.md": "A", "papers.jsonl": row("1", "C")})
    python = PythonSource(kind="python", name="python", packages=("heapq",))
    found = ids(read(tmp_path, folder("docs"), beir("papers"), python))
    assert found == sorted(found)
    assert {"1", "docs/a.md", "docs/b.md", "heapq.nsmallest"} <= set(found)


def test_a_second_document_of_an_id_or_text_is_a_problem_that_names_the_first(tmp_path: Path):
    write(
        tmp_path,
        {
            "one.jsonl": row("1", "A") + row("1", "B") + row("2", "A") + row("3", "C"),
            "two.jsonl": row("3", "D") + row("4", "C"),
        },
    )
    snapshot = read(tmp_path, beir("one"), beir("two"))
    assert ids(snapshot) == ["1", "3", "4"]
    assert [(item.source, item.name, item.reason) for item in snapshot.problems] == [
        ("one", "1", "duplicate"),
        ("one", "2", "duplicate"),
        ("two", "3", "duplicate"),
    ]
    assert "'1'" in snapshot.problems[1].detail
    assert "'one'" in snapshot.problems[2].detail


def test_problems_of_single_documents_stop_nothing(tmp_path: Path):
    write(tmp_path, {"docs/a.md": "A", "docs/empty.md": "", "docs/bad.pdf": "no"})
    snapshot = read(tmp_path, folder("docs"))
    assert ids(snapshot) == ["docs/a.md"]
    assert [(item.name, item.reason) for item in snapshot.problems] == [
        ("bad.pdf", "broken"),
        ("empty.md", "empty"),
    ]


def test_a_source_with_nothing_in_it_is_reported(tmp_path: Path):
    write(tmp_path, {"docs/.gitignore": "*", "papers.jsonl": row("1", "A")})
    snapshot = read(tmp_path, folder("docs"), beir("papers"))
    assert ids(snapshot) == ["1"]
    assert [(item.name, item.reason) for item in snapshot.problems] == [("docs", "empty")]


def test_a_source_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(CorpusError, match="'docs'"):
        read(tmp_path, folder("docs"))


def test_the_digest_is_that_of_the_content_and_of_nothing_else(tmp_path: Path):
    one = write(tmp_path / "one", {"docs/a.md": "A", "docs/b.md": "B"})
    two = write(tmp_path / "two", {"docs/b.md": "B", "docs/a.md": "A \r\n", "docs/empty.md": ""})
    first, second = read(one, folder("docs")), read(two, folder("docs"))
    assert first.digest == second.digest
    (two / "docs" / "b.md").write_text("B!")
    assert read(two, folder("docs")).digest != first.digest


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
    assert MemorySnapshot([other]).digest != MemorySnapshot([document("a")]).digest


def test_a_stored_snapshot_is_read_as_it_was(tmp_path: Path):
    problem = Problem("docs", "b.md", "empty", "0 bytes.")
    snapshot = MemorySnapshot([document("ä/b"), document("a", "Zeile\n\n𝔘")], [problem])
    stored = open_snapshot(store(snapshot, tmp_path).directory)
    assert stored.directory == tmp_path / snapshot.digest
    assert (stored.digest, stored.n_documents) == (snapshot.digest, 2)
    assert tuple(stored.read()) == snapshot.documents
    assert tuple(stored.read({"a", "unknown"})) == snapshot.documents[:1]
    assert stored.digests.to_dict() == snapshot.digests.to_dict()
    assert dict(stored.metadata()) == dict(snapshot.metadata())
    assert stored.problems == (problem,)


def test_storing_again_replaces_only_the_problems(tmp_path: Path):
    directory = store(MemorySnapshot([document("a")]), tmp_path).directory
    before = (directory / "documents.parquet").stat().st_mtime_ns
    problem = Problem("docs", "b.md", "empty", "0 bytes.")
    again = store(MemorySnapshot([document("a")], [problem]), tmp_path)
    assert again.directory == directory
    assert (directory / "documents.parquet").stat().st_mtime_ns == before
    assert open_snapshot(directory).problems == (problem,)


@pytest.mark.parametrize("use", [StoredSnapshot.read, StoredSnapshot.metadata])
def test_a_changed_byte_is_noticed_by_who_reads_it(tmp_path: Path, use):
    words = " ".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200))
    stored = store(MemorySnapshot([document("a", words)]), tmp_path)
    path = stored.directory / "documents.parquet"
    data = bytearray(path.read_bytes())
    # Most of the file is the one text.
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptArtifact, match="damaged") as raised:
        list(use(stored))
    assert str(stored.directory) in raised.value.next_step


def test_a_document_that_was_exchanged_is_noticed_though_the_file_is_whole(tmp_path: Path):
    snapshot = MemorySnapshot([document("a"), document("b")])
    expected = [item.digest for item in snapshot.documents]
    other = zip([document("a"), document("b", "Forged.")], expected, strict=True)
    stored = store_documents(tmp_path, snapshot.digest, document_tables(other), ())
    assert [item.doc_id for item in stored.read({"a"})] == ["a"]
    with pytest.raises(CorruptArtifact, match="the document 'b' has digest"):
        list(stored.read({"b"}))


def test_digests_that_the_snapshot_is_not_named_by_are_noticed(tmp_path: Path):
    snapshot = MemorySnapshot([document("a")])
    forged = document("a", "Forged.")
    stored = store_documents(
        tmp_path, snapshot.digest, document_tables([(forged, forged.digest)]), ()
    )
    with pytest.raises(CorruptArtifact, match="its documents have the digest"):
        _ = stored.digests


@pytest.mark.parametrize("characters", [documents.BATCH_CHARACTERS, 8, 1])
def test_a_snapshot_takes_what_it_keeps_from_the_last_one_in_the_order_of_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int
):
    # Several row groups, and new documents before, inside and after them.
    old = MemorySnapshot(document(f"d{n:05}", f"Text {n}.") for n in range(5_000))
    changed = {f"d{n:05}": document(f"d{n:05}", "New.") for n in (0, 1_999, 2_000, 4_999)}
    added = [document(name, "New.") for name in ("a", "d01000-b", "ä", "𝔘")]
    gone = {f"d{n:05}" for n in range(2_000, 4_000)}
    kept = [item for item in old.documents if item.doc_id not in gone | changed.keys()]
    wanted = MemorySnapshot([*kept, *changed.values(), *added])
    before = store(old, tmp_path)
    # New documents in one table, in some, and each in one of its own.
    monkeypatch.setattr(documents, "BATCH_CHARACTERS", characters)
    keep = {item.digest for item in kept}
    new = [(item, item.digest) for item in wanted.documents if item.digest not in keep]
    after = store_documents(tmp_path, wanted.digest, before.merged(keep, document_tables(new)), ())
    assert tuple(after.read()) == wanted.documents
    assert after.digests.to_dict() == wanted.digests.to_dict()
    assert after.manifest.documents_by_source == {"docs": len(wanted.documents)}
    (before.directory / "documents.parquet").write_bytes(b"other bytes")
    with pytest.raises(CorruptArtifact):
        store_documents(tmp_path, "0" * 64, before.merged(keep, document_tables(new)), ())


def test_a_changed_manifest_is_noticed(tmp_path: Path):
    path = store(MemorySnapshot([document("a")]), tmp_path).directory / "manifest.json"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptArtifact, match="damaged"):
        open_snapshot(path.parent).check()


@pytest.mark.parametrize("name", ["documents.parquet", "manifest.json", "problems.json"])
def test_a_missing_file_is_noticed(tmp_path: Path, name: str):
    directory = store(MemorySnapshot([document("a")]), tmp_path).directory
    (directory / name).unlink()
    with pytest.raises(CorruptArtifact):
        _ = list(open_snapshot(directory).read()), open_snapshot(directory).problems


def test_a_snapshot_under_another_name_is_noticed(tmp_path: Path):
    directory = store(MemorySnapshot([document("a")]), tmp_path).directory
    with pytest.raises(CorruptArtifact):
        open_snapshot(directory.rename(tmp_path / ("0" * 64)))


def test_a_snapshot_that_is_not_there_is_the_users_business(tmp_path: Path):
    with pytest.raises(CorpusError):
        open_snapshot(tmp_path / "0")


def test_comparing_tells_added_changed_and_removed_documents():
    old = MemorySnapshot([document("a"), document("b"), document("c"), document("d")]).digests
    new = MemorySnapshot(
        [document("a"), document("b", "New."), document("e"), document("d")]
    ).digests
    nothing = DocumentDigests.of({})
    diff = compare_digests(old, new)
    assert diff == CorpusDiff(added=("e",), changed=("b",), removed=("c",))
    assert diff
    assert not compare_digests(old, old)
    assert not compare_digests(nothing, nothing)
    assert compare_digests(nothing, old) == CorpusDiff(added=("a", "b", "c", "d"))
    assert compare_digests(old, nothing) == CorpusDiff(removed=("a", "b", "c", "d"))


def test_the_digest_of_a_known_corpus_changes_only_with_the_version():
    # If this fails, documents or their digests changed: bump SNAPSHOT_VERSION, then this value.
    snapshot = MemorySnapshot([document("a"), document("b", "Zwei.\n\nTexte")])
    assert snapshot.digest == "2969ec21fd19b5dc4784750d7782d51181c7fd867cd284115846773676265a19"
