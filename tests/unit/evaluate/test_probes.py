from dataclasses import replace

from tasks.corpus.document import Document
from tasks.corpus.structure import Block
from tasks.evaluate.probes import draw_probes, probe_documents
from tasks.evaluate.retrieval import shared_cases
from tasks.evaluate.spans import check_suite
from tests.corpora import MemorySnapshot


def document(number: int, sentences: int = 3) -> Document:
    text = " ".join(
        f"The thing number {number} has a property called {place}." for place in range(sentences)
    )
    return Document(f"doc-{number:03d}", f"Thing {number}", text, {"source": "things"})


def corpus(count: int, sentences: int = 3) -> list[Document]:
    return [document(number, sentences) for number in range(count)]


def draw(old, new=None, *, count=20, seed=0):
    return draw_probes(old, old if new is None else new, count=count, seed=seed)


def test_a_probe_is_a_sentence_that_stands_where_its_span_says():
    documents = corpus(30)
    suite = draw(documents)
    assert len(suite.cases) == 20
    assert check_suite(suite, MemorySnapshot(documents)).in_place
    for case in suite.cases:
        (gold,) = case.gold
        assert case.question == gold.quote
        assert (gold.quote[:4], gold.quote[-1]) == ("The ", ".")
        assert case.cluster == gold.doc_id


def test_the_same_seed_draws_the_same_probes_whatever_order_the_documents_are_in():
    documents = corpus(30)
    assert draw(documents) == draw(documents[::-1])
    assert draw(documents, seed=1) != draw(documents)


def test_no_document_gives_a_second_probe_before_every_other_gave_one():
    first = draw(corpus(30), count=30)
    assert len({case.cluster for case in first.cases}) == 30
    more = draw(corpus(10), count=15)
    assert len({case.cluster for case in more.cases}) == 10
    assert len(more.cases) == 15
    # All sentences that there are, and no endless search for more.
    assert len(draw(corpus(2), count=50).cases) == 6


def test_one_more_document_changes_few_probes():
    before, after = draw(corpus(60), count=40), draw(corpus(61), count=40)
    kept = {case.case_id for case in before.cases} & {case.case_id for case in after.cases}
    assert len(kept) >= 39


def test_only_sentences_that_both_corpora_have_are_asked_for():
    old = corpus(10)
    new = [
        replace(each, text=each.text.replace("called 0", "that was renamed")) for each in old[:5]
    ]
    suite = draw(old, new, count=100)
    assert {case.cluster for case in suite.cases} == {each.doc_id for each in new}
    assert len(suite.cases) == 10
    assert not any("called 0" in case.question for case in suite.cases)
    assert check_suite(suite, MemorySnapshot(new)).lost == ()


def test_a_sentence_that_two_documents_have_is_asked_for_once():
    same = "This very sentence is the same everywhere."
    documents = [Document(name, name, same, {"source": "s"}) for name in ("a", "b")]
    assert len(draw(documents).cases) == 1


def test_headings_tables_code_and_fragments_are_no_questions():
    text = (
        "All about the many apples.\n\nAn apple is a fruit of the tree. Yes. print(1, 2, 3, 4, 5)."
    )
    head = text.index("\n")
    code = text.index("print")
    blocks = (
        Block("heading", 0, head, 1),
        Block("code", code, len(text), 0),
    )
    suite = draw([Document("a", "Apples", text, {"source": "s"}, blocks)])
    assert [case.question for case in suite.cases] == ["An apple is a fruit of the tree."]


def test_without_a_common_sentence_there_are_no_probes():
    assert draw(corpus(3), []) is None
    assert draw([Document("a", "A", "Too short.", {"source": "s"})]) is None


def test_documents_to_draw_from_are_chosen_by_their_names_alone():
    names = [f"doc-{number}" for number in range(100)]
    chosen = probe_documents(names, count=10, seed=0)
    assert len(chosen) == 20
    assert chosen == probe_documents(names[::-1], count=10, seed=0)
    assert chosen != probe_documents(names, count=10, seed=1)
    fewer = probe_documents([name for name in names if name != chosen[0]], count=10, seed=0)
    assert fewer[:19] == chosen[1:]


def test_cases_whose_evidence_is_gone_are_named_and_left_out():
    old = corpus(10)
    suite = draw(old, count=10)
    gone = old[3].doc_id
    new = [each for each in old if each.doc_id != gone]
    shared = shared_cases(suite, MemorySnapshot(old), MemorySnapshot(new))
    assert [span.span.doc_id for span in shared.lost] == [gone]
    assert len(shared.left_out) == 1
    assert len(shared.old.cases) == len(shared.new.cases) == 9
    # What only the new corpus has is no problem of the suite, and can't be compared either.
    back = shared_cases(suite, MemorySnapshot(new), MemorySnapshot(old))
    assert back.lost == ()
    assert back.left_out == shared.left_out
