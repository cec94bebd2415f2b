import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.document import Document
from tasks.errors import SuiteError
from tasks.evaluate.spans import LostSpan, MovedSpan, check_suite, relocate
from tasks.evaluate.suite import Case, Span, Suite
from tests.corpora import MemorySnapshot


def document(doc_id, text):
    return Document(doc_id, doc_id, text, {"source": "s"})


def suite_of(*spans):
    return Suite("s", (Case("a", "Q?", "R", spans, "c", (), False, ()),))


QUOTE = Span("d", 4, 8, "heap")


def test_a_quote_in_its_place_needs_nothing():
    check = check_suite(suite_of(QUOTE), MemorySnapshot([document("d", "the heap")]))
    assert check.in_place
    assert (check.n_cases, check.n_spans, check.lines()) == (1, 1, [])


def test_a_quote_that_moved_is_reported_from_where_to_where():
    check = check_suite(suite_of(QUOTE), MemorySnapshot([document("d", "now the heap")]))
    assert check.moved == (MovedSpan("a", QUOTE, Span("d", 8, 12, "heap"), 1),)
    assert check.lines() == ["a: the quote in 'd' moved from 4-8 to 8-12."]
    assert not check.in_place
    assert check.ambiguous == ()


def test_of_several_places_the_nearest_is_taken_and_a_person_is_asked_to_look():
    check = check_suite(suite_of(QUOTE), MemorySnapshot([document("d", "heap, heap and heap")]))
    assert check.moved[0].new == Span("d", 6, 10, "heap")
    assert check.ambiguous == check.moved
    assert "the nearest of 3 places; look" in check.lines()[0]


def test_a_quote_that_is_in_its_place_is_not_ambiguous_when_it_is_elsewhere_too():
    assert check_suite(suite_of(QUOTE), MemorySnapshot([document("d", "the heap heap")])).in_place


def test_a_quote_that_is_gone_is_lost_and_other_documents_that_have_it_are_named():
    documents = MemorySnapshot(
        [document("d", "the stack"), document("e", "a heap"), document("f", "x")]
    )
    check = check_suite(suite_of(QUOTE), documents)
    assert check.lost == (LostSpan("a", QUOTE, "quote_not_found", ("e",)),)
    assert check.lines() == ["a: 'd' doesn't have 'heap'. Other documents have it: e."]


def test_other_documents_are_read_only_where_a_quote_is_gone():
    corpus = MemorySnapshot([document("d", "the heap"), document("e", "a heap")])
    check_suite(suite_of(QUOTE), corpus)
    assert corpus.was_read == ["d"]


def test_three_other_documents_that_have_a_quote_are_named():
    others = [document(name, "a heap") for name in "abce"]
    assert check_suite(suite_of(QUOTE), MemorySnapshot(others)).lost[0].elsewhere == tuple("abc")


def test_a_document_that_is_gone_is_named():
    check = check_suite(suite_of(QUOTE), MemorySnapshot([document("other", "text")]))
    assert check.lost == (LostSpan("a", QUOTE, "unknown_document", ()),)
    assert check.lines() == ["a: the corpus has no document 'd'."]


def test_relocating_gives_every_span_its_new_place_and_keeps_the_digest():
    suite = suite_of(QUOTE, Span("e", 0, 1, "x"))
    documents = MemorySnapshot([document("d", "now the heap"), document("e", "x")])
    moved = relocate(suite, check_suite(suite, documents))
    assert moved.cases[0].gold == (Span("d", 8, 12, "heap"), Span("e", 0, 1, "x"))
    assert moved.digest == suite.digest
    assert check_suite(moved, documents).in_place


def test_relocating_refuses_a_suite_with_lost_quotes_and_says_which():
    check = check_suite(suite_of(QUOTE), MemorySnapshot([document("d", "nothing")]))
    with pytest.raises(SuiteError) as caught:
        relocate(suite_of(QUOTE), check)
    assert "1 of 1 gold spans of suite 's' are not in the corpus" in str(caught.value)
    assert "a: 'd' doesn't have 'heap'" in str(caught.value)
    assert "ratchet suite check" in caught.value.next_step


def test_relocating_can_keep_lost_quotes_and_marks_what_the_corpus_lacks_of_each():
    suite = suite_of(QUOTE, Span("e", 0, 1, "x"), Span("f", 0, 3, "fig"), Span("g", 0, 3, "gem"))
    corpus = MemorySnapshot([document("e", "ax"), document("f", "date"), document("h", "a gem")])
    kept = relocate(suite, check_suite(suite, corpus), lost="keep")
    assert [(span.start, span.lost) for span in kept.cases[0].gold] == [
        (QUOTE.start, "both"),
        (1, None),
        (0, "quote"),
        (0, "document"),
    ]
    assert kept.digest == suite.digest


@given(st.text(min_size=1), st.text(max_size=20), st.integers(0, 50))
def test_a_relocated_span_always_points_at_its_quote(quote, before, old_start):
    suite = suite_of(Span("d", old_start, old_start + len(quote), quote))
    text = before + quote + before
    span = (
        relocate(suite, check_suite(suite, MemorySnapshot([document("d", text)]))).cases[0].gold[0]
    )
    assert text[span.start : span.end] == quote
