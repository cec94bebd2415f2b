from pathlib import Path

import pytest

from tasks.config import Chunking
from tasks.corpus.document import Document
from tasks.errors import ConfigError, CorruptArtifact
from tasks.index.build import build_index
from tasks.index.search import Retrieved, open_index
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder

TEXTS = {
    "cats": "Cats sleep most of the day and hunt at night.",
    "dogs": "Dogs bark at the door when somebody rings.",
    "trees": "Trees grow slowly and live for centuries.",
    "twin": "Trees grow slowly and live for centuries.",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    documents = [Document(name, "Notes", text, {"source": name}) for name, text in TEXTS.items()]
    snapshot = MemorySnapshot(documents)
    return build_index(
        snapshot, Chunking(), HashingEmbedder(), room=tmp_path, previous=None
    ).directory


def test_the_passage_that_is_most_like_the_question_comes_first(directory: Path):
    index = open_index(directory, HashingEmbedder())
    cats, dogs = index.search(["Do cats hunt at night?", "Why do dogs bark?"], top_k=2)
    assert cats[0] == Retrieved(
        chunk_id="cats:0-45",
        doc_id="cats",
        title="Notes",
        text=TEXTS["cats"],
        start=0,
        end=45,
        score=cats[0].score,
        rank=1,
    )
    assert dogs[0].doc_id == "dogs"
    assert [hit.rank for hit in dogs] == [1, 2]
    assert dogs[0].score > dogs[1].score


def test_equal_scores_are_ordered_by_chunk_id(directory: Path):
    index = open_index(directory, HashingEmbedder())
    (hits,) = index.search(["trees live for centuries"], top_k=2)
    assert [hit.doc_id for hit in hits] == ["trees", "twin"]
    assert hits[0].score == hits[1].score


def test_a_small_index_gives_all_it_has(directory: Path):
    index = open_index(directory, HashingEmbedder())
    assert [len(hits) for hits in index.search(["a", "b"], top_k=100)] == [4, 4]
    assert index.search([], top_k=3) == []


def test_the_same_question_asked_alone_or_with_others_finds_the_same(directory: Path):
    index = open_index(directory, HashingEmbedder())
    questions = [f"cats and dogs {n}" for n in range(50)]
    together = index.search(questions, top_k=4)
    alone = [index.search([question], top_k=4)[0] for question in questions]
    assert [[hit.chunk_id for hit in hits] for hits in together] == [
        [hit.chunk_id for hit in hits] for hits in alone
    ]


def test_of_more_equal_passages_than_are_asked_for_all_segments_give_the_first(tmp_path: Path):
    before = [Document(f"{n:02d}", "Notes", TEXTS["trees"], {}) for n in range(0, 60, 2)]
    after = before[3:] + [
        Document(f"{n:02d}", "Notes", TEXTS["trees"], {}) for n in range(1, 60, 2)
    ]
    model = HashingEmbedder()
    first = build_index(
        MemorySnapshot(before), Chunking(), model, room=tmp_path, previous=None
    ).directory
    report = build_index(MemorySnapshot(after), Chunking(), model, room=tmp_path, previous=first)
    assert [use.n_deleted for use in report.version.segments] == [3, 0]
    index = open_index(report.directory, model)
    question = "trees live for centuries"
    (alone,) = index.search([question], top_k=6)
    assert [hit.doc_id for hit in alone] == ["01", "03", "05", "06", "07", "08"]
    assert index.search([question, "cats"], top_k=6)[0] == alone


@pytest.mark.parametrize("offset", [0, 0.5, -1])
@pytest.mark.parametrize(
    "name",
    [
        "documents.parquet",
        "../segments/*/vectors.npy",
        "../segments/*/chunks.arrow",
        "../segments/*/manifest.json",
    ],
)
def test_one_changed_byte_is_noticed_at_opening(directory: Path, name: str, offset: float):
    (path,) = directory.parent.glob(f"{directory.name}/{name}")
    data = bytearray(path.read_bytes())
    data[-1 if offset < 0 else int(len(data) * offset)] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptArtifact, match=path.name) as raised:
        open_index(directory, HashingEmbedder())
    assert str(path.parent.resolve()) in raised.value.next_step


@pytest.mark.parametrize(
    "name", ["documents.parquet", "manifest.json", "../segments/*/vectors.npy"]
)
def test_a_missing_file_is_noticed_at_opening(directory: Path, name: str):
    (path,) = directory.parent.glob(f"{directory.name}/{name}")
    path.unlink()
    with pytest.raises(CorruptArtifact, match=path.name):
        open_index(directory, HashingEmbedder())


@pytest.mark.parametrize("field", ["corpus_digest", "embedding_digest", "digest", "n_chunks"])
def test_a_changed_manifest_is_noticed_at_opening(directory: Path, field: str):
    path = directory / "manifest.json"
    text = path.read_text()
    at = text.index(f'"{field}"') + len(field) + 4
    while not text[at].isalnum():
        at += 1
    path.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :])
    with pytest.raises(CorruptArtifact):
        open_index(directory, HashingEmbedder())


def test_another_embedding_model_is_refused(directory: Path):
    with pytest.raises(ConfigError, match=r"'hashing'.*'other'"):
        open_index(directory, HashingEmbedder("other"))
