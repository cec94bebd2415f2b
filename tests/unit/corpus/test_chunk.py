import random
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.config import Chunking
from tasks.corpus.chunk import Chunk, chunk_document
from tasks.corpus.document import Document, normalise
from tasks.corpus.parse import Unreadable, parse_markdown

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


NAMES = [f"Name{number}" for number in range(20)]

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
    text = " ".join(f"{word} one two three." for word in NAMES[:6])
    before, chunk = cut(text, max_tokens=20, overlap_tokens=4)
    assert words(before.text) == 12
    assert words(chunk.text) == 16
    assert before.text.endswith("Name2 one two three.")
    assert chunk.text.startswith("Name2 one two three.")


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
    assert [c.text for c in cut("a b c d e f g", max_tokens=3)] == ["a b c", "d e", "f g"]
    assert [c.text for c in cut("abcdefgh", max_tokens=4, count=len)] == ["abcd", "efgh"]


def test_sentences_without_blanks_between_them_are_found():
    text = "一二三。四五六。七八九。"
    chunks = cut(text, max_tokens=8, count=len)
    assert "".join(chunk.text for chunk in chunks) == text
    assert all(chunk.text.endswith("。") for chunk in chunks)


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


def test_a_long_document_of_equal_sentences_takes_no_time():
    assert len(cut("One. " * 100_000, max_tokens=200, count=lambda _: 1)) >= 500


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
    assert spans == [(0, 22), (23, 67), (69, 110), (116, 167)]


def article(generator: random.Random, sentences: int) -> list[str]:
    """Sentences of many lengths; some end a paragraph."""
    found = []
    for _ in range(sentences):
        words = " ".join(generator.choices(WORDS, k=generator.randint(3, 25)))
        end = "\n\n" if generator.random() < 0.1 else " "
        found.append(words.capitalize() + "." + end)
    return found


WORDS = ["index", "passage", "model", "token", "night", "release", "answer", "of", "the", "a"]


@pytest.mark.parametrize("sentences", [150, 1_500])
@pytest.mark.parametrize("overlap", [0, 20])
def test_an_edit_changes_the_chunks_around_it_however_long_the_document_is(
    sentences: int, overlap: int
):
    generator = random.Random(f"{sentences} {overlap}")
    parts = article(generator, sentences)
    settings = {"max_tokens": 100, "overlap_tokens": overlap}
    before = {chunk.text for chunk in cut("".join(parts), **settings)}
    changed = []
    for edit in ("insert", "delete", "replace"):
        for _ in range(15):
            place = generator.randrange(sentences)
            edited = parts.copy()
            new = [] if edit == "delete" else article(generator, 1)
            edited[place : place + (edit != "insert")] = new
            after = {chunk.text for chunk in cut("".join(edited), **settings)}
            changed.append(len(after - before))
    assert max(changed) <= 12
    assert sum(changed) / len(changed) <= 4


def test_removing_the_edit_gives_the_old_chunks_back():
    parts = article(random.Random(5), 300)
    edited = [*parts[:100], "An insertion. ", *parts[100:]]
    edited.pop(100)
    assert cut("".join(edited), max_tokens=100) == cut("".join(parts), max_tokens=100)


def test_chunks_use_the_room_that_they_have():
    chunks = cut("".join(article(random.Random(6), 1_000)), max_tokens=100)
    sizes = [words(chunk.text) for chunk in chunks]
    assert sum(sizes) / len(sizes) > 60
    assert min(sizes) >= 25


def test_repeated_sentences_are_cut_evenly():
    chunks = cut("The same sentence again. " * 1_000, max_tokens=100)
    assert len(chunks) <= 4_000 / 100 * 2
    assert len({chunk.text for chunk in chunks}) <= 4


def markdown(source: str, *, max_tokens: int, overlap_tokens: int = 0) -> list[Chunk]:
    parsed = parse_markdown(source.encode())
    assert not isinstance(parsed, Unreadable)
    document = Document("doc", "Guide", parsed.text, {"source": "docs"}, parsed.blocks)
    settings = Chunking(max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    chunks = chunk_document(document, settings, count_tokens=words)
    assert all(chunk.text == parsed.text[chunk.start : chunk.end] for chunk in chunks)
    return chunks


def test_a_chunk_is_named_by_the_headings_above_it():
    text = "Six words in this one here. And six more words go here.\n\n"
    source = f"# Guide\n\n{text}## Setup\n\n{text}### Linux\n\n{text}{text}"
    source += f"## Use\n\n{text}### Often\n\n{text}"
    chunks = markdown(source, max_tokens=20)
    assert [(chunk.title, chunk.text.split("\n")[0]) for chunk in chunks] == [
        ("Guide", "Guide"),
        ("Guide", "Setup"),
        ("Guide > Setup", "Linux"),
        ("Guide > Setup > Linux", "Six words in this one here. And six more words go here."),
        ("Guide", "Use"),
        ("Guide > Use", "Often"),
    ]


def test_a_document_that_fits_keeps_its_title():
    (chunk,) = markdown("# Other\n\n## Inner\n\nText.", max_tokens=12)
    assert chunk.title == "Guide"


def test_headings_never_make_a_title_too_long():
    source = "".join(
        f"{'#' * level} {' '.join(['word'] * 3)} {level}\n\n" + "Some text of it. " * 20 + "\n\n"
        for level in range(1, 7)
    )
    titles = {chunk.title for chunk in markdown(source, max_tokens=40)}
    assert max(words(title) for title in titles) <= 10
    assert "Guide > word word word 6" in titles


def test_a_heading_stays_with_the_text_below_it_and_no_chunk_overlaps_into_a_section():
    section = "## Part {}\n\nSome text of it. And some more text. Then the end.\n\n"
    source = "".join(section.format(name) for name in NAMES)
    chunks = markdown(source, max_tokens=30, overlap_tokens=6)
    assert all(chunk.text.startswith("Part ") for chunk in chunks)
    assert not any(chunk.text.split("\n")[-1].startswith("Part ") for chunk in chunks)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ("```\nfirst(1)\n\nsecond(2)\n    third(3)\n```", "first(1)\n\nsecond(2)\n    third(3)"),
        ("| a | b |\n|---|---|\n| one. Two | 2 |\n| 3 | 4 |", "a | b\none. Two | 2\n3 | 4"),
    ],
)
def test_tables_and_code_stay_whole_where_they_fit(block: str, text: str):
    prose = "Some text of it. And some more text. Then comes the end.\n\n"
    for before in range(1, 8):
        chunks = markdown(prose * before + block + "\n\n" + prose * 3, max_tokens=16)
        assert any(text in chunk.text for chunk in chunks)


def test_code_that_is_too_long_is_cut_at_blank_lines_and_never_inside_a_line():
    lines = "\n".join(f"call_{i}(a, b, c)" + ("\n" if i % 5 == 4 else "") for i in range(60))
    chunks = markdown(f"Text.\n\n```\n{lines}\n```\n", max_tokens=30)
    assert len(chunks) > 5
    assert all(chunk.text.endswith(")") for chunk in chunks)


def test_chunks_of_a_known_page_change_only_with_the_version():
    # If this fails, chunks changed: bump CHUNKING_VERSION, then these values.
    source = (
        "# Guide\n\nOne. Two.\n\n## Use\n\n```\na b c\nd e f\n```\n\nThree four. Five six. Seven."
    )
    chunks = markdown(source, max_tokens=8, overlap_tokens=2)
    assert [(chunk.start, chunk.end, chunk.title) for chunk in chunks] == [
        (0, 16, "Guide"),
        (18, 34, "Guide"),
        (36, 64, "Guide"),
    ]
