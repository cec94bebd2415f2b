import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.config import FolderSource
from tasks.corpus.document import Document, Problem
from tasks.corpus.folder import list_files, pattern_regex, read_file
from tasks.errors import CorpusError
from tests.pdf import make_pdf


def source(**settings: object) -> FolderSource:
    return FolderSource(kind="folder", name="docs", path=Path("docs"), **settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "docs"
    path.mkdir()
    return path


def read_folder(
    source: FolderSource, *, root: Path, max_document_bytes: int
) -> Iterator[Document | Problem]:
    for unit in list_files(source, root=root, now_ns=time.time_ns()):
        if unit.problem is not None:
            yield unit.problem
        else:
            yield from read_file(
                source, unit.name, root=root, max_document_bytes=max_document_bytes
            )


def read(root: Path, *, max_bytes: int = 10_000, **settings: object) -> dict[str, str]:
    """Name of each file -> text of its document, or the reason why there is none."""
    items = list(read_folder(source(**settings), root=root, max_document_bytes=max_bytes))
    found = {
        item.doc_id if isinstance(item, Document) else f"{item.source}/{item.name}": item.text
        if isinstance(item, Document)
        else item.reason
        for item in items
    }
    assert len(found) == len(items)
    return found


def test_files_of_all_kinds_become_documents(folder: Path):
    (folder / "guide").mkdir()
    (folder / "guide" / "a.md").write_text("# Title\n\nText.")
    (folder / "b.html").write_text("<title>Page</title><p>Text")
    (folder / "c-d.txt").write_text("Text")
    (folder / "e.pdf").write_bytes(make_pdf("Text", title="Paper"))
    (folder / "image.png").write_bytes(b"\x89PNG")
    documents = list(read_folder(source(), root=folder.parent, max_document_bytes=10_000))
    assert [(item.doc_id, item.title) for item in documents if isinstance(item, Document)] == [
        ("docs/b.html", "Page"),
        ("docs/c-d.txt", "c d"),
        ("docs/e.pdf", "Paper"),
        ("docs/guide/a.md", "Title"),
    ]
    assert dict(documents[-1].metadata) == {"source": "docs", "path": "guide/a.md"}


def test_bad_files_are_problems_by_name_and_the_rest_is_read(folder: Path):
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "empty.md").write_text(" \n")
    (folder / "good.md").write_text("Text.")
    (folder / "huge.txt").write_text("x" * 10_001)
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    assert read(folder.parent) == {
        "docs/broken.pdf": "broken",
        "docs/empty.md": "empty",
        "docs/good.md": "Text.",
        "docs/huge.txt": "too_large",
        "docs/latin.txt": "wrong_encoding",
    }


def test_links_that_leave_the_folder_are_not_followed(folder: Path):
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    (folder / "file.md").symlink_to(outside / "secret.md")
    (folder / "relative.md").symlink_to(Path("..") / "outside" / "secret.md")
    (folder / "linked").symlink_to(outside, target_is_directory=True)
    (folder / "nowhere.md").symlink_to(outside / "missing.md")
    (folder / "itself.md").symlink_to(folder / "itself.md")
    assert read(folder.parent) == dict.fromkeys(
        ["docs/file.md", "docs/relative.md", "docs/linked", "docs/nowhere.md", "docs/itself.md"],
        "broken",
    )
    assert read(folder.parent, patterns=("*/*.md", "../**/*.md")) == {"docs/linked": "broken"}


def test_links_inside_the_folder_are_read(folder: Path):
    (folder / "a.md").write_text("Text.")
    (folder / "b.md").symlink_to(folder / "a.md")
    assert read(folder.parent) == {"docs/a.md": "Text.", "docs/b.md": "Text."}


def test_a_folder_that_is_itself_a_link_is_read(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.md").write_text("Text.")
    (tmp_path / "docs").symlink_to(tmp_path / "real")
    assert read(tmp_path) == {"docs/a.md": "Text."}


def test_a_pipe_does_not_stop_the_reading(folder: Path):
    os.mkfifo(folder / "pipe.txt")
    assert read(folder.parent) == {"docs/pipe.txt": "broken"}


def test_a_file_name_that_is_not_utf_8_is_a_problem(folder: Path):
    (folder / os.fsdecode(b"caf\xe9.md")).write_text("Text.")
    assert read(folder.parent) == {"docs/caf\\xe9.md": "wrong_encoding"}


def test_a_missing_folder_is_an_error_that_says_where_to_look(tmp_path: Path):
    with pytest.raises(CorpusError) as raised:
        list(read_folder(source(), root=tmp_path, max_document_bytes=1))
    assert str(tmp_path / "docs") in raised.value.message
    assert "configs/corpus.yaml" in raised.value.next_step


def test_the_order_is_the_same_on_every_machine(folder: Path):
    for name in ("b.md", "a.md", "a/z.md", "B.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    assert list(read(folder.parent)) == ["docs/B.md", "docs/a.md", "docs/a/z.md", "docs/b.md"]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**/*.md", "a.md", True),
        ("**/*.md", "x/y/a.md", True),
        ("**/*.md", "a.mdx", False),
        ("*.md", "x/a.md", False),
        ("guide/**", "guide/x/a.md", True),
        ("guide/**/a.md", "guide/a.md", True),
        ("?.md", "ab.md", False),
        ("a[1].md", "a[1].md", True),
        ("**/*.md", "new\nline.md", True),
    ],
)
def test_patterns_are_globs(pattern: str, path: str, matches: bool):
    assert bool(re.fullmatch(pattern_regex(pattern), path)) is matches


def test_problems_carry_the_values(folder: Path):
    (folder / "huge.txt").write_text("x" * 2_000)
    items = list(read_folder(source(), root=folder.parent, max_document_bytes=1_000))
    assert items == [
        Problem("docs", "huge.txt", "too_large", "2,000 bytes; max_document_bytes is 1,000.")
    ]
