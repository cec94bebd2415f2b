from pathlib import Path
from random import Random

import pytest

from tasks.config import Chunking, Compaction, IndexSettings
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
WORDS = [f"word{n}" for n in range(60)]


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


def test_a_small_segment_beside_one_with_lists_is_found_through_them(tmp_path: Path):
    chance = Random(0)
    before = [
        Document(f"{n:04d}", "", " ".join(chance.choices(WORDS, k=12)), {}) for n in range(4_200)
    ]
    added = [Document(f"new{n}", "", " ".join(chance.choices(WORDS, k=12)), {}) for n in range(60)]
    after = [*before[100:], *added]
    model, listed = HashingEmbedder(), IndexSettings(kind="ivf", recall=0.9)

    def built(documents: list[Document], index: IndexSettings, previous: Path | None) -> Path:
        return build_index(
            MemorySnapshot(documents),
            Chunking(),
            model,
            room=tmp_path,
            previous=previous,
            index=index,
        ).directory

    night = built(after, listed, built(before, listed, None))
    exact = open_index(built(after, IndexSettings(kind="flat"), None), model)
    found = open_index(night, model)
    kinds = [segment.manifest.kind for segment in found.stored.segments]
    assert kinds == ["ivf", "flat"]
    # Its own words are nearest to the centre of the list that a passage is in.
    own = found.search([document.text for document in added], top_k=10)
    assert [hits[0].doc_id for hits in own] == [document.doc_id for document in added]
    gone = {document.doc_id for document in before[:100]}
    questions = [document.text for document in (*added, *before[:200])]
    shares = []
    for hits, best in zip(
        found.search(questions, top_k=10), exact.search(questions, top_k=10), strict=True
    ):
        assert not gone & {hit.doc_id for hit in hits}
        assert len(hits) == 10
        shares.append(sum(hit.score >= best[-1].score for hit in hits) / 10)
        at = {hit.chunk_id: hit.score for hit in best}
        assert all(at.get(hit.chunk_id, hit.score) == hit.score for hit in hits)
    assert sum(shares) / len(shares) >= 0.9


def test_what_was_deleted_from_all_lists_that_are_read_is_made_up_for(tmp_path: Path):
    before = [Document(f"{n:04d}", "", f"{WORDS[n % 40]} {n}", {}) for n in range(4_200)]
    after = [*before[4_190:], Document("new", "", "Something else entirely.", {})]
    model, listed = HashingEmbedder(), IndexSettings(kind="ivf", recall=0.5)
    kept = Compaction(max_deleted=0.9999)
    directory = None
    for documents in (before, after):
        directory = build_index(
            MemorySnapshot(documents),
            Chunking(),
            model,
            room=tmp_path,
            previous=directory,
            index=listed,
            compaction=kept,
        ).directory
    found = open_index(directory, model)
    assert [segment.manifest.kind for segment in found.stored.segments] == ["ivf", "flat"]
    (hits,) = found.search(["Something else entirely."], top_k=11)
    assert hits[0].doc_id == "new"
    assert {hit.doc_id for hit in hits} == {document.doc_id for document in after}


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
