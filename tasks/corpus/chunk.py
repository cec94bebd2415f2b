"""Document -> passages that are indexed, each with its exact character span."""

import bisect
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tasks.config import Chunking
from tasks.corpus.document import Document

CHUNKING_VERSION = 1
"""Bumped when an equal document gives other chunks."""

# Tokenisers count an unbroken run (base64, minified code) as one unknown token; a generator's
# doesn't, so no token may stand for more characters than this on average.
_MAX_CHARACTERS_PER_TOKEN = 20

_PARAGRAPH, _SENTENCE, _LINE, _WORD = range(4)
_GAP = re.compile(r"\s+|(?<=[。！？])(?=\S)")
_LIST_ITEM = re.compile(r"(?:[-*•+]|\d{1,3}[.)])\s|>>> ")
_ENDS_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]*_`]*\Z")
_STARTS_SENTENCE = re.compile(r"[\"'“‘(\[*_`]*[^\W_a-z]")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|cf|etc|vs|al|fig|eq|no|dr|mr|mrs|ms|prof|st|[a-z])\.\Z", re.IGNORECASE
)
_LOOK_BACK = 12


@dataclass(frozen=True, slots=True)
class Chunk:
    """One passage: `text == document.text[start:end]`.

    Attributes:
        chunk_id: `<doc_id>:<start>-<end>`.
        doc_id: the document it was cut from.
        start: first character, counted from 0.
        end: one past the last character.
        text: the characters, without blanks around them.
        title: the document's title.
    """

    chunk_id: str
    doc_id: str
    start: int
    end: int
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """A sentence, or a part of one that is too long; pieces follow each other without a gap."""

    start: int
    end: int
    tokens: int
    ends_paragraph: bool


def chunk_document(
    document: Document, settings: Chunking, *, count_tokens: Callable[[str], int]
) -> list[Chunk]:
    """Cut a document into passages of at most `max_tokens` tokens.

    A document that fits is one passage. Otherwise passages end at sentences, where possible at
    paragraphs, and start with the last sentences of the one before, up to `overlap_tokens`. Only
    a sentence that is too long by itself is cut at lines, else words, else characters.

    Args:
        document: what to cut.
        settings: sizes in tokens.
        count_tokens: how many tokens a text has, without special ones.

    Returns:
        Passages with growing starts and ends, which cover everything but blanks. None has more
        than `max_tokens` tokens, except a single character that does.
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
        return [_chunk(document, 0, len(text))]
    pieces = list(_pieces(text, limit, size))
    chunks = []
    first = fresh = 0
    while fresh < len(pieces):
        first, last = _fill(pieces, first, fresh, limit, size)
        chunks.append(_chunk(document, pieces[first].start, pieces[last - 1].end))
        first, fresh = _overlap(pieces, first, last, settings.overlap_tokens), last
    return chunks


def _chunk(document: Document, start: int, end: int) -> Chunk:
    part = document.text[start:end]
    start += len(part) - len(part.lstrip())
    end = start + len(part.strip())
    return Chunk(
        chunk_id=f"{document.doc_id}:{start}-{end}",
        doc_id=document.doc_id,
        start=start,
        end=end,
        text=document.text[start:end],
        title=document.title,
    )


def _pieces(text: str, limit: int, size: Callable[[int, int], int]) -> Iterator[_Piece]:
    """Sentences in order; longer ones cut at the best boundary that makes them fit."""
    gaps = [(match.end(), _rank(text, match)) for match in _GAP.finditer(text)]
    gaps = [gap for gap in gaps if 0 < gap[0] < len(text)]
    paragraphs = {position for position, rank in gaps if rank == _PARAGRAPH} | {len(text)}
    pending = [(start, end, _LINE) for start, end in _cuts(gaps, 0, len(text), _SENTENCE)]
    pending.reverse()
    while pending:
        start, end, rank = pending.pop()
        tokens = size(start, end)
        # Blanks stay with the characters before them: alone they would be an empty passage.
        length = len(text[start:end].rstrip())
        if tokens <= limit or length == 1:
            yield _Piece(start, end, tokens, end in paragraphs)
        elif rank <= _WORD:
            parts = [(*cut, rank + 1) for cut in _cuts(gaps, start, end, rank)]
            pending.extend(reversed(parts))
        else:
            middle = start + length // 2
            pending += [(middle, end, rank), (start, middle, rank)]


def _cuts(gaps: list[tuple[int, int]], start: int, end: int, rank: int) -> list[tuple[int, int]]:
    """Split a range at all gaps inside it that are at least as good as `rank`."""
    low = bisect.bisect_right(gaps, (start, _WORD))
    high = bisect.bisect_left(gaps, (end, _PARAGRAPH))
    inside = [position for position, found in gaps[low:high] if found <= rank]
    edges = [start, *inside, end]
    return list(itertools.pairwise(edges))


def _rank(text: str, gap: re.Match[str]) -> int:
    blanks = gap[0]
    lines = blanks.count("\n")
    if lines > 1:
        return _PARAGRAPH
    if lines and (not blanks.endswith("\n") or _LIST_ITEM.match(text, gap.end())):
        # An indented line or a list item stands for itself.
        return _SENTENCE
    before = text[max(0, gap.start() - _LOOK_BACK) : gap.start()]
    if (
        _ENDS_SENTENCE.search(before)
        and (not blanks or _STARTS_SENTENCE.match(text, gap.end()))
        and not _ABBREVIATION.search(before)
    ):
        return _SENTENCE
    return _LINE if lines else _WORD


def _fill(
    pieces: list[_Piece], first: int, fresh: int, limit: int, size: Callable[[int, int], int]
) -> tuple[int, int]:
    """Choose pieces [first, last): as many as fit, at least the one at `fresh`."""

    def tokens(start: int, end: int) -> int:
        return size(pieces[start].start, pieces[end - 1].end)

    while first < fresh and tokens(first, fresh + 1) > limit:
        first += 1
    last = fresh + 1
    total = pieces[first].tokens if first == fresh else tokens(first, last)
    while last < len(pieces) and total + pieces[last].tokens <= limit:
        total += pieces[last].tokens
        last += 1
    # Tokens of the parts don't always add up to those of the whole.
    while last > fresh + 1 and tokens(first, last) > limit:
        last -= 1
    if last == len(pieces):
        return first, last
    kept = total = sum(piece.tokens for piece in pieces[first:last])
    for end in range(last, fresh, -1):
        if pieces[end - 1].ends_paragraph and kept * 2 >= total:
            return first, end
        kept -= pieces[end - 1].tokens
    return first, last


def _overlap(pieces: list[_Piece], first: int, last: int, limit: int) -> int:
    """Index of the piece that the next passage starts with: some of the end of this one."""
    start, total = last, 0
    while start > first + 1 and total + pieces[start - 1].tokens <= limit:
        start -= 1
        total += pieces[start].tokens
    return start
