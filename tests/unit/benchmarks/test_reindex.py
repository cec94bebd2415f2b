import json
from pathlib import Path

import pytest

from benchmarks import harness, reindex_edits, reindex_unchanged
from benchmarks.reindex_checks import compare, is_right
from benchmarks.reindex_contenders import PEERS
from benchmarks.reindex_files import CountingEmbedder, insert_sentences, read_files, write_files


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A BEIR corpus of a few passages, no two sentences of which are equal."""
    path = tmp_path / "corpus.jsonl"
    lines = [
        json.dumps(
            {
                "_id": str(number),
                "title": "",
                "text": " ".join(
                    f"Sentence {place} of passage {number} says something of its own."
                    for place in range(12)
                ),
            }
        )
        for number in range(40)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def test_every_document_differs_and_is_as_long_as_asked(data: Path, tmp_path: Path):
    write_files(tmp_path / "docs", data, 120, words=200)
    texts = dict(read_files(tmp_path / "docs"))
    assert len(texts) == len(set(texts.values())) == 120
    assert min(len(text.split()) for text in texts.values()) >= 200
    assert {name.split("/")[0] for name in texts} == {"0000", "0001"}


def test_an_edit_inserts_one_sentence_in_every_hundredth_document(data: Path, tmp_path: Path):
    write_files(tmp_path / "docs", data, 120, words=200)
    before = dict(read_files(tmp_path / "docs"))
    assert insert_sentences(tmp_path / "docs") == 2
    after = dict(read_files(tmp_path / "docs"))
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["0000/000000.txt", "0001/000100.txt"]
    for number, name in enumerate(changed):
        inserted = f"This is sentence {number} that somebody inserted on the second day. "
        assert after[name].replace(inserted, "") == before[name]


def test_what_is_lost_stale_or_twice_makes_an_index_wrong():
    wanted = [("a", "one"), ("a", "two"), ("b", "one")]
    assert is_right(compare(wanted, wanted))
    found = compare(wanted, [("a", "one"), ("a", "one"), ("a", "old"), ("b", "one")])
    assert found == {"chunks": 4, "lost": 1, "stale": 1, "twice": 1}
    for stored in (wanted[:2], [*wanted, wanted[0]], [*wanted, ("a", "old")]):
        assert not is_right(compare(wanted, stored))


def test_a_chunk_that_a_document_says_twice_may_be_stored_twice():
    assert is_right(compare([("a", "one")] * 2, [("a", "one")] * 2))
    assert compare([("a", "one")] * 2, [("a", "one")])["lost"] == 1


def test_the_model_that_costs_nothing_gives_equal_texts_equal_vectors_and_counts_them():
    model = CountingEmbedder()
    first, other, again = model.encode(["one", "two", "one"])
    assert first.tolist() == again.tolist() != other.tolist()
    assert float(first @ first) == pytest.approx(1.0, abs=1e-6)
    assert model.texts == ["one", "two", "one"]


def test_a_peer_that_embeds_again_or_is_wrong_or_has_no_index_is_not_the_best(results: Path):
    measured = {"first_s": 1.0, "embedded": 0, "right": True, "seconds": 8.0}
    peers = {
        "LangChain index(), incremental": measured | {"seconds": 1.0, "right": False},
        "LangChain index(), full": measured,
        "LlamaIndex, upserts": measured | {"seconds": None, "right": None, "embedded": None},
        "LlamaIndex, cache alone": measured | {"seconds": 1.0},
    }
    own = {size: {"chunks": 9, "median_s": 0.5} for size in ("10", "100000")}
    limit = {size: {"median_s": 0.25} for size in own}
    assert not reindex_unchanged.report(own, limit, peers, 10, 100_000)
    stored = json.loads((results / "P1.json").read_text())
    assert stored["ratios"]["best right peer / own"] == 16.0
    assert stored["ratios"]["own / stat walk, 100,000 documents"] == 2.0
    peers["LangChain index(), full"] = measured | {"seconds": 10.0}
    assert reindex_unchanged.report(own, limit, peers, 10, 100_000)
    assert not reindex_unchanged.report(own, limit, peers, 10, 10)


@pytest.mark.integration
def test_a_small_folder_without_changes_embeds_nothing(data: Path, results: Path):
    # Too small a folder to meet the goal, whatever the times are.
    assert not reindex_unchanged.main(data, 3, 3)
    stored = json.loads((results / "P1.json").read_text())
    assert stored["own"]["3"]["embedded"] == 0
    assert stored["own"]["3"]["chunks"] > 3
    assert len(stored["own"]["3"]["seconds"]) == 5


@pytest.mark.integration
def test_an_edit_of_a_small_folder_embeds_what_is_truly_new(
    data: Path, results: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reindex_edits, "DAYS", 2)
    reindex_edits.main(data, [3])
    stored = json.loads((results / "P2.json").read_text())
    own = stored["own"]["3"]
    assert own["right"]
    assert 1 <= own["embedded"] == own["truly_new"] < own["chunks"]
    assert len(own["days_s"]) == 2
    assert stored["ratios"]["embedded / truly new, 3 documents"] == 1.0


def test_a_larger_folder_is_left_to_the_best_right_peer_of_each_package_that_ends_in_time():
    measured = {"right": True, "seconds": 3.0, "first_s": 5.0}
    found = {peer.name: measured for peer in PEERS} | {
        "LangChain index(), incremental": measured | {"seconds": 1.0, "right": False},
        "LangChain index(), full": measured | {"seconds": 2.0},
        "LlamaIndex, upserts": measured | {"seconds": None, "right": None, "first_s": None},
    }
    best = reindex_edits.best_of_each(PEERS, found, growth=10)
    assert [peer.name for peer in best] == [
        "LangChain index(), full",
        "LlamaIndex, upserts_and_delete",
    ]
    assert not reindex_edits.best_of_each(PEERS, found, growth=100)


def test_the_largest_folder_decides_whether_edits_are_fast_enough(results: Path):
    def found(own: float, peer: float | None) -> reindex_edits.Found:
        measured = {"embedded": 2, "truly_new": 2, "right": True, "edits": 1}
        rates = {"embedded_an_edit": 2.0, "new_an_edit": 2.0}
        other = {"seconds": peer, "right": peer and True}
        return {
            "ratchet": measured | rates | {"seconds": own},
            "LangChain index(), full": measured | rates | other,
            "LlamaIndex, cache alone": measured | rates | {"seconds": 0.1, "right": None},
        }

    assert reindex_edits.report({10: found(1.0, 2.0), 100: found(1.0, 10.0)})
    stored = json.loads((results / "P2.json").read_text())
    assert stored["ratios"]["best right peer / own, 10 documents"] == 2.0
    assert stored["ratios"]["best right peer / own, 100 documents"] == 10.0
    assert not reindex_edits.report({10: found(1.0, 20.0), 100: found(1.0, 9.0)})
    assert not reindex_edits.report({10: found(1.0, 20.0), 100: found(1.0, None)})
