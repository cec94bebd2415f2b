from collections.abc import Mapping
from pathlib import Path

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import Chunking
from tasks.corpus.document import Document
from tasks.errors import CorruptArtifact
from tasks.index.build import build_index
from tasks.index.lexical import K1, B, Bm25, LexicalIndex, open_lexical
from tasks.index.postings import LEXICAL, Postings, count_words, words_of, write_postings
from tasks.index.sharing import unused_parts
from tasks.index.version import open_version
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder

TEXTS = {
    "cats": "Cats sleep most of the day and hunt at night.",
    "dogs": "Dogs bark at the door when somebody rings.",
    "trees": "Trees grow slowly and live for centuries.",
    "twin": "Trees grow slowly and live for centuries.",
}
WORDS = ("cat", "dog", "tree", "river", "stone", "cloud", "the")


def build(room: Path, texts: Mapping[str, str], previous: Path | None = None) -> Path:
    documents = [Document(name, "Notes", text, {"source": name}) for name, text in texts.items()]
    return build_index(
        MemorySnapshot(documents), Chunking(), HashingEmbedder(), room=room, previous=previous
    ).directory


def lexical(directory: Path) -> LexicalIndex:
    return open_lexical(open_version(directory))


def postings(directory: Path, texts: list[str]) -> Postings:
    directory.mkdir()
    write_postings(directory, *count_words([texts[:2], texts[2:]]))
    return Postings(directory)


def test_the_passage_that_shares_rare_words_comes_first(tmp_path: Path):
    (hits,) = lexical(build(tmp_path, TEXTS)).search(["Which cat hunts?"], top_k=3)
    assert [hit.doc_id for hit in hits] == ["cats"]
    assert (hits[0].text, hits[0].rank) == (TEXTS["cats"], 1)


def test_equal_scores_are_ordered_by_chunk_id_and_cut_at_top_k(tmp_path: Path):
    index = lexical(build(tmp_path, TEXTS))
    assert [hit.doc_id for hit in index.search(["slow trees"], top_k=2)[0]] == ["trees", "twin"]
    assert [hit.doc_id for hit in index.search(["slow trees"], top_k=1)[0]] == ["trees"]


def test_a_question_that_shares_no_word_finds_nothing(tmp_path: Path):
    index = lexical(build(tmp_path, TEXTS))
    assert index.search(["quantum chromodynamics", "the of", ""], top_k=3) == [[], [], []]
    assert index.search([], top_k=3) == []


def test_only_rows_that_may_be_found_are_found_and_statistics_stay(tmp_path: Path):
    stored = open_version(build(tmp_path, TEXTS))
    among = [segment.chunks.rows_of(["twin"]) for segment in stored.segments]
    (all_hits,) = open_lexical(stored).search(["trees"], top_k=4)
    (hits,) = open_lexical(stored, among=among).search(["trees"], top_k=4)
    assert [hit.doc_id for hit in hits] == ["twin"]
    assert hits[0].score == all_hits[1].score


def test_scores_are_those_of_bm25s(tmp_path: Path):
    texts = [f"{text} {other}" for text in TEXTS.values() for other in WORDS]
    mine = Bm25([postings(tmp_path / "p", texts)], [np.ones(len(texts), bool)], k1=K1, b=B)
    peer = bm25s.BM25(method="lucene", k1=K1, b=B)
    peer.index(words_of(texts), show_progress=False)
    for question in ("cats and dogs", "tree tree rivers", "stone"):
        (words,) = words_of([question])
        # Its tokens of a question are a set; ours count twice what is asked twice.
        expected = sum(peer.get_scores([word]) for word in words)
        assert np.allclose(mine.scores(words)[0], expected, rtol=1e-5)


@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=6), min_size=2, max_size=12),
    dead=st.sets(st.integers(0, 11)),
    cut=st.integers(1, 11),
)
def test_segments_and_deleted_rows_score_as_an_index_from_scratch(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], dead: set[int], cut: int
):
    room = tmp_path_factory.mktemp("postings")
    lines = [" ".join(words) for words in texts]
    live = np.array([row not in dead for row in range(len(lines))])
    split = Bm25(
        [postings(room / "a", lines[:cut]), postings(room / "b", lines[cut:])],
        [live[:cut], live[cut:]],
        k1=K1,
        b=B,
    )
    kept = [line for line, alive in zip(lines, live, strict=True) if alive]
    whole = Bm25([postings(room / "c", kept)], [np.ones(len(kept), bool)], k1=K1, b=B)
    question = ["cat", "dog", "dog", "stone"]
    found = np.concatenate(split.scores(question))[live]
    assert found.tolist() == whole.scores(question)[0].tolist()


def test_a_new_version_collects_the_words_of_new_segments_only(tmp_path: Path):
    first = build(tmp_path, TEXTS)
    lexical(first)
    made = {path.name: path.stat().st_mtime_ns for path in (tmp_path / LEXICAL).glob("[!.]*")}
    changed = {name: text for name, text in TEXTS.items() if name != "twin"} | {"new": "Owls hoot."}
    second = build(tmp_path, changed, previous=first)
    hits = lexical(second).search(["trees", "owl"], top_k=4)
    assert [[hit.doc_id for hit in found] for found in hits] == [["trees"], ["new"]]
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / LEXICAL).glob("[!.]*")}
    assert made.items() < after.items()


@pytest.mark.parametrize("name", ["terms.arrow", "rows.npy", "manifest.json"])
def test_one_changed_byte_is_noticed_at_opening(tmp_path: Path, name: str):
    directory = build(tmp_path, TEXTS)
    lexical(directory)
    (path,) = (tmp_path / LEXICAL).glob(f"[!.]*/{name}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptArtifact, match="words of the index segment"):
        lexical(directory)


def test_the_words_of_a_segment_go_when_no_version_uses_it(tmp_path: Path):
    directory = build(tmp_path, TEXTS)
    lexical(directory)
    (segment,) = (path.name for path in (tmp_path / LEXICAL).glob("[!.]*"))
    assert list(unused_parts(tmp_path, leaving=set())) == []
    gone = {
        path.parent.name: path.name for path in unused_parts(tmp_path, leaving={directory.name})
    }
    assert gone[LEXICAL] == segment
