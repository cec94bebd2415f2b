import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.config import Chunking
from tasks.corpus.chunk import Chunk, chunk_document
from tasks.corpus.document import Document, normalise

COUNTERS: dict[str, Callable[[str], int]] = {
    "words": lambda text: len(text.split()),
    "words and marks": lambda text: len(re.findall(r"\w+|[^\w\s]", text)),
    "characters": len,
    "bytes": lambda text: len(text.encode()),
}


def words(text: str) -> int:
    return len(text.split())


def cut(
    text: str,
    *,
    max_tokens: int,
    overlap_tokens: int = 0,
    count: Callable[[str], int] = words,
) -> list[Chunk]:
    document = Document("doc", "Title", normalise(text), {"source": "docs"})
    settings = Chunking(max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    return chunk_document(document, settings, count_tokens=count)


texts = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="aB.!? \n\n-1。é", max_size=600),
    st.lists(
        st.sampled_from(
            ["Word", "word.", "Sentence one!", "\n\n", "\n", "- item", "   x = 1", "e.g."]
        )
    ).map(" ".join),
)


@given(
    text=texts,
    max_tokens=st.integers(1, 60),
    overlap=st.floats(0, 0.5),
    counter=st.sampled_from(sorted(COUNTERS)),
)
@example(text="\x80 \x80", max_tokens=1, overlap=0.0, counter="bytes")
def test_chunks_are_exact_spans_that_cover_the_document(
    text: str, max_tokens: int, overlap: float, counter: str
):
    count = COUNTERS[counter]
    document = Document("doc", "Title", normalise(text), {"source": "docs"})
    settings = Chunking(max_tokens=max_tokens, overlap_tokens=int(max_tokens * overlap))
    chunks = chunk_document(document, settings, count_tokens=count)
    covered: set[int] = set()
    for chunk in chunks:
        assert chunk.text == document.text[chunk.start : chunk.end]
        assert chunk.text == chunk.text.strip() != ""
        assert chunk.chunk_id == f"doc:{chunk.start}-{chunk.end}"
        assert (chunk.doc_id, chunk.title) == ("doc", "Title")
        assert count(chunk.text) <= max_tokens or len(chunk.text) == 1
        covered |= set(range(chunk.start, chunk.end))
    assert all(
        position in covered or character.isspace()
        for position, character in enumerate(document.text)
    )
    starts, ends = [chunk.start for chunk in chunks], [chunk.end for chunk in chunks]
    assert starts == sorted(set(starts))
    assert ends == sorted(set(ends))


def test_a_document_that_fits_is_one_chunk():
    (chunk,) = cut("One. Two.\n\nThree.", max_tokens=3)
    assert (chunk.start, chunk.end) == (0, 17)


def test_chunks_end_at_sentences():
    chunks = cut("One two three. Four five! Six seven eight? Nine.", max_tokens=5)
    assert [chunk.text for chunk in chunks] == [
        "One two three. Four five!",
        "Six seven eight? Nine.",
    ]


def test_chunks_end_at_paragraphs_where_that_wastes_little():
    text = "A b c. D e f.\n\nG h i. J k l. M n o."
    assert [chunk.text for chunk in cut(text, max_tokens=9)] == [
        "A b c. D e f.",
        "G h i. J k l. M n o.",
    ]


def test_a_chunk_starts_with_the_last_sentences_of_the_one_before():
    chunks = cut("Aa bb. Cc dd. Ee ff. Gg hh. Ii jj.", max_tokens=6, overlap_tokens=2)
    assert [chunk.text for chunk in chunks] == ["Aa bb. Cc dd. Ee ff.", "Ee ff. Gg hh. Ii jj."]


def test_abbreviations_and_initials_end_no_sentence():
    text = "See e.g. Smith and J. Doe. Then more words follow here."
    assert [chunk.text for chunk in cut(text, max_tokens=8)] == [
        "See e.g. Smith and J. Doe.",
        "Then more words follow here.",
    ]


def test_list_items_and_code_lines_stay_whole():
    text = "Use:\n- one two three\n- four five six\n>>> f(1, 2)\n    g(3, 4)"
    assert [chunk.text for chunk in cut(text, max_tokens=5)] == [
        "Use:\n- one two three",
        "- four five six",
        ">>> f(1, 2)\n    g(3, 4)",
    ]


def test_a_sentence_that_is_too_long_is_cut_at_lines_then_words_then_characters():
    assert [c.text for c in cut("a b c\nd e f\ng h", max_tokens=4)] == ["a b c", "d e f", "g h"]
    assert [c.text for c in cut("a b c d e f g", max_tokens=3)] == ["a b c", "d e f", "g"]
    assert [c.text for c in cut("abcdefgh", max_tokens=4, count=len)] == ["abcd", "efgh"]


def test_sentences_without_blanks_between_them_are_found():
    chunks = cut("一二三。四五六。七八九。", max_tokens=8, count=len)
    assert [chunk.text for chunk in chunks] == ["一二三。四五六。", "七八九。"]


def test_an_unbroken_run_is_cut_although_it_counts_as_one_token():
    chunks = cut("x" * 100_000, max_tokens=100)
    assert max(len(chunk.text) for chunk in chunks) <= 2_000


def test_a_long_document_takes_time_by_its_length_only():
    calls = 0

    def count(text: str) -> int:
        nonlocal calls
        calls += len(text)
        return len(text.split())

    text = "Here is a sentence of nine words, more or less. " * 5_000
    cut(text, max_tokens=200, overlap_tokens=20, count=count)
    assert calls < 6 * len(text)


def test_a_document_without_text_has_no_chunks():
    assert cut("", max_tokens=4) == []


@pytest.mark.parametrize("text", ["Short.", "ab" * 10])
def test_a_document_shorter_than_the_limit_is_not_tokenised(text: str):
    def count(_: str) -> int:
        raise AssertionError("counted")

    assert len(cut(text, max_tokens=20, count=count)) == 1


def test_chunks_of_a_known_document_change_only_with_the_version():
    # If this fails, chunks changed: bump CHUNKING_VERSION, then these values.
    text = (
        "Ratchet turns one way. It never slips back, e.g. after a bad night.\n\n"
        "- one item\n- another item with more words\n\n"
        "    code(1)\n    code(2)\n\nThe end of it\nis here. Really."
    )
    spans = [(chunk.start, chunk.end) for chunk in cut(text, max_tokens=12, overlap_tokens=4)]
    assert spans == [(0, 22), (23, 67), (69, 135), (116, 167)]
