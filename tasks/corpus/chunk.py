"""Document -> passages that are indexed, each with its exact character span."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.config import Chunking
from tasks.corpus.boundaries import choose_cuts
from tasks.corpus.document import Document
from tasks.corpus.headings import HeadingPaths
from tasks.corpus.pieces import Piece, Rank, cut_pieces

CHUNKING_VERSION = 2
"""Bumped when an equal document gives other chunks."""

# Tokenisers count an unbroken run (base64, minified code) as one unknown token; a generator's
# doesn't, so no token may stand for more characters than this on average.
_MAX_CHARACTERS_PER_TOKEN = 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """One passage: `text == document.text[start:end]`.

    Attributes:
        chunk_id: `<doc_id>:<start>-<end>`.
        doc_id: the document it was cut from.
        start: first character, counted from 0.
        end: one past the last character.
        text: the characters, without blanks around them.
        title: the document's title, and after it the headings that the passage stands under:
            `Title > Section > Part`.
    """

    chunk_id: str
    doc_id: str
    start: int
    end: int
    text: str
    title: str


def chunk_document(
    document: Document, settings: Chunking, *, count_tokens: Callable[[str], int]
) -> list[Chunk]:
    """Cut a document into passages of at most `max_tokens` tokens.

    A document that fits is one passage. In others the text itself says where some of the passages
    end, at headings, else paragraphs, else sentences (`choose_cuts`), so an edit changes a few
    passages around it and no others, however long the document is. A passage starts with the last
    sentences of the one before, up to `overlap_tokens` where there is room for them, unless a
    heading lies between. Tables and code stay whole where they fit; only what is too long by
    itself is cut at lines, else words, else characters.

    Args:
        document: what to cut.
        settings: sizes in tokens.
        count_tokens: how many tokens a text has, without special ones.

    Returns:
        Passages with growing starts and ends, which cover everything but blanks. None has more
        than `max_tokens` tokens, except a single character that does. The headings in a title
        never make it longer than a quarter of that.
    """
    text = document.text
    if not text.strip():
        return []
    limit = settings.max_tokens

    def size(start: int, end: int) -> int:
        part = text[start:end].strip()
        least = -(-len(part) // _MAX_CHARACTERS_PER_TOKEN)
        return least if least > limit else max(count_tokens(part), least)

    # No token is shorter than a byte, so most short documents needn't be tokenised.
    if len(text.encode()) <= limit or size(0, len(text)) <= limit:
        return [_chunk(document, 0, len(text), document.title)]
    pieces = cut_pieces(text, document.blocks, limit, size)

    def fits(first: int, last: int) -> bool:
        return size(pieces[first].start, pieces[last - 1].end) <= limit

    paths = HeadingPaths(document, limit // 4, count_tokens)
    chunks: list[Chunk] = []
    previous = 0
    for first, last in choose_cuts(text, pieces, limit, fits):
        start, end = _with_overlap(pieces, previous, first, settings.overlap_tokens), last
        while start < first and size(pieces[start].start, pieces[end - 1].end) > limit:
            start += 1
        begin = pieces[start].start
        chunks.append(_chunk(document, begin, pieces[end - 1].end, paths.title_at(begin)))
        previous = first
    return chunks


def _with_overlap(pieces: Sequence[Piece], previous: int, first: int, limit: int) -> int:
    """Index of the piece that a passage starts with: near the end of the one before."""
    start, total = first, 0
    while (
        start > previous + 1
        and pieces[start].rank < Rank.HEADING
        and total + pieces[start - 1].tokens <= limit
    ):
        start -= 1
        total += pieces[start].tokens
    return start


def _chunk(document: Document, start: int, end: int, title: str) -> Chunk:
    part = document.text[start:end]
    start += len(part) - len(part.lstrip())
    end = start + len(part.strip())
    return Chunk(
        chunk_id=f"{document.doc_id}:{start}-{end}",
        doc_id=document.doc_id,
        start=start,
        end=end,
        text=document.text[start:end],
        title=title,
    )
