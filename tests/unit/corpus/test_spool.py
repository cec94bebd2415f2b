import weakref
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.corpus import documents, spool
from tasks.corpus.document import Document
from tasks.corpus.spool import DocumentSpool
from tasks.corpus.structure import Block


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of at most 100 characters."""
    for module in (documents, spool):
        monkeypatch.setattr(module, "BATCH_CHARACTERS", 100)


class Text(str):
    """A text whose life can be watched."""


def document(doc_id: str, text: str) -> Document:
    return Document(doc_id, doc_id, text, {"source": "s"}, (Block("heading", 0, 1, 1),))


def test_no_more_texts_than_a_batch_are_alive_while_documents_come(tmp_path: Path, small: None):
    waiting = DocumentSpool(tmp_path / "spool")
    living: weakref.WeakSet[Text] = weakref.WeakSet()
    for number in range(200):
        text = Text(f"{number:03} " + "x" * 16)
        living.add(text)
        waiting.add(document(f"d{number:03}", text), f"digest {number}")
        del text
        assert sum(map(len, living)) < 100
    for table in waiting.tables([f"digest {number}" for number in range(200)]):
        assert sum(len(text) for text in table["text"].to_pylist()) <= 100


def test_many_short_documents_fill_a_batch_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool, "_MOST_ROWS", 3)
    waiting = DocumentSpool(tmp_path / "spool")
    living: weakref.WeakSet[Text] = weakref.WeakSet()
    for number in range(10):
        text = Text(f"{number}")
        living.add(text)
        waiting.add(document(f"d{number}", text), f"{number}")
        del text
        assert len(living) < 3


@given(names=st.lists(st.text("abcäZ𝔘", min_size=1, max_size=6), unique=True), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_documents_come_back_in_the_order_of_ids_in_whatever_order_they_came(
    tmp_path: Path, small: None, names: list[str], data: st.DataObject
):
    made = [document(name, name * 9) for name in names]
    waiting = DocumentSpool(tmp_path / "spool")
    for item in (*made, *made[:2]):
        waiting.add(item, item.digest)
    chosen = data.draw(st.lists(st.sampled_from(made), unique_by=id)) if made else []
    ordered = sorted(chosen, key=lambda item: item.doc_id)
    found = list(waiting.tables([item.digest for item in ordered]))
    documents.write_documents(tmp_path / "found.parquet", found)
    read = list(documents.read_documents(tmp_path / "found.parquet"))
    assert read == [(item, item.digest) for item in ordered]
    assert all(item.digest in waiting for item in made)
