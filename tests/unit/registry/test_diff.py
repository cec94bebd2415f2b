import json
from dataclasses import replace
from pathlib import Path

from registry.diff import ReleaseDiff, compare_evaluations, compare_releases, index_side
from tasks.config import Chunking
from tasks.corpus.digests import CorpusDiff
from tasks.corpus.document import Document
from tasks.index.build import build_index
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder
from tests.evaluations import make_log, make_release


def test_equal_releases_have_no_difference(tmp_path, make_release):
    diff = compare_releases(make_release(), make_release(), indexes=tmp_path)
    assert not diff
    assert str(diff).endswith("are the same.")


def test_a_changed_prompt_is_a_unified_diff_of_its_text(tmp_path, make_release):
    old = make_release(0, index="one")
    new = make_release(2, index="one")
    diff = compare_releases(old, new, indexes=tmp_path)
    assert "-Answer in 3 words." in diff.prompt
    assert "+Answer in 5 words." in diff.prompt
    assert diff.prompt[0] == f"--- {old.label}"
    assert diff.parameters == ()
    assert diff.index is None


def test_changed_parameters_are_named_with_both_values(tmp_path, make_release):
    diff = compare_releases(
        make_release(), make_release(top_k=8, temperature=0.5), indexes=tmp_path
    )
    changes = {change.name: (change.old, change.new) for change in diff.parameters}
    assert changes["retrieval.top_k"] == ("4", "8")
    assert changes["model.sampling.temperature"] == ("0.0", "0.5")
    assert "retrieval.top_k: 4 -> 8" in str(diff)
    assert diff.prompt == ()


def test_a_changed_index_shows_its_counts_where_its_manifest_is_there(tmp_path, make_release):
    old, new = make_release(index="one"), make_release(index="two")
    directory = tmp_path / old.index_digest
    directory.mkdir()
    (directory / "manifest.json").write_text(json.dumps({"n_documents": 1200, "n_chunks": 3400}))
    diff = compare_releases(old, new, indexes=tmp_path)
    assert diff.index[0].n_chunks == 3400
    assert diff.index[1].n_chunks is None
    assert "1,200 documents, 3,400 chunks" in str(diff)
    assert "not on this machine" in str(diff)


def test_documents_and_passages_that_differ_are_counted_and_named(tmp_path):
    embedder = HashingEmbedder()
    digests = []
    texts = {f"doc{number}": f"Text number {number} says something." for number in range(12)}
    changed = {**texts, "doc1": "Another text altogether.", "new": "A new one."}
    del changed["doc2"]
    for documents in (texts, changed):
        made = MemorySnapshot(
            [Document(name, name, text, {"source": "t"}) for name, text in documents.items()]
        )
        report = build_index(made, Chunking(), embedder, room=tmp_path, previous=None)
        digests.append((report.version.digest, made.digest))
    old, new = (
        make_release().model_copy(update={"index_digest": index, "corpus_digest": corpus})
        for index, corpus in digests
    )
    diff = compare_releases(old, new, indexes=tmp_path)
    assert diff.documents.added == ("new",)
    assert diff.documents.changed == ("doc1",)
    assert diff.documents.removed == ("doc2",)
    assert (diff.chunks.added, diff.chunks.removed, diff.chunks.shared) == (2, 2, 10)
    assert "~ doc1" in str(diff)
    assert compare_releases(old, old, indexes=tmp_path).documents is None


def test_many_names_are_cut_for_people_and_whole_for_scripts(make_release):
    names = tuple(f"doc{number:02d}" for number in range(20))
    side = index_side(make_release(), Path("nowhere"))
    diff = ReleaseDiff("a", "b", (), (), (side, side), CorpusDiff(names, (), ()))
    assert "doc07" in str(diff)
    assert "doc08" not in str(diff)
    assert "and 12 more" in str(diff)
    assert diff.documents.added == names


def test_means_are_compared_over_the_cases_that_both_have(make_release):
    old = make_log(make_release(0), cases=12, right=6, failed=0)
    new = make_log(make_release(1), cases=12, right=8, failed=4)
    rows = {row.info.name: row for row in compare_evaluations(old, new)}
    correct = rows["answer_correct"]
    # Four cases have no answer in the new one; six of the other eight were right in the old one.
    assert (correct.old, correct.new, correct.n) == (0.75, 1.0, 8)
    assert rows["R@4"].n == 12
    assert correct.shown(correct.old) == "75.0 %"


def test_scores_of_another_judge_are_not_compared(make_release):
    old, new = (make_log(make_release(number)) for number in (0, 1))
    other = replace(new, manifest=new.manifest.model_copy(update={"judge_digest": "x"}))
    assert "rubric_accuracy" in {row.info.name for row in compare_evaluations(old, new)}
    names = {row.info.name for row in compare_evaluations(old, other)}
    assert "rubric_accuracy" not in names
    assert "answer_correct" in names
