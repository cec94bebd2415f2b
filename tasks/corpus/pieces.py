"""Document -> sentences and whole blocks, and how good a place to cut is between them."""

import bisect
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from tasks.corpus.structure import Block

Size = Callable[[int, int], int]
"""Tokens of the text between two positions, without blanks around it."""


class Rank(IntEnum):
    """How good a place to cut is; the bigger, the better."""

    INSIDE_WORD = 0
    AFTER_HEADING = 1
    WORD = 2
    LINE = 3
    SENTENCE = 4
    PARAGRAPH = 5
    HEADING = 6


_GAP = re.compile(r"\s+|(?<=[。！？])(?=\S)")
_LIST_ITEM = re.compile(r"(?:[-*•+]|\d{1,3}[.)])\s|>>> ")
_ENDS_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]*_`]*\Z")
_STARTS_SENTENCE = re.compile(r"[\"'“‘(\[*_`]*[^\W_a-z]")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|cf|etc|vs|al|fig|eq|no|dr|mr|mrs|ms|prof|st|[a-z])\.\Z", re.IGNORECASE
)
_LOOK_BACK = 12


@dataclass(frozen=True, slots=True)
class Piece:
    """What is never cut; pieces follow each other without a gap.

    Attributes:
        start: first character.
        end: one past the last one, blanks included.
        tokens: of its text.
        rank: how good a place to cut its start is: a `Rank`; headings of a high level rank above
            `Rank.HEADING`.
    """

    start: int
    end: int
    tokens: int
    rank: int


def cut_pieces(text: str, blocks: Sequence[Block], limit: int, size: Size) -> list[Piece]:
    """Cut a text into pieces of at most `limit` tokens, a single character excepted.

    A heading, a table and a code block are one piece each where they fit; of the rest, each
    sentence is. What is too long is cut at the best places that make it fit.
    """
    ranks, inside = _ranks(text, blocks)
    gaps = sorted(ranks)
    edges = [gap for gap in gaps if ranks[gap] >= Rank.SENTENCE and gap not in inside]
    edges += [gap for gap in gaps if ranks[gap] == Rank.AFTER_HEADING]
    return [
        Piece(low, high, tokens, ranks.get(low, Rank.INSIDE_WORD))
        for start, end in itertools.pairwise(sorted({0, len(text), *edges}))
        for low, high, tokens in _fitting(text, gaps, ranks, (start, end), limit, size)
    ]


def _ranks(text: str, blocks: Sequence[Block]) -> tuple[dict[int, int], set[int]]:
    """Rank of every place where text goes on after blanks, and which of them lie in a block."""
    matches = {match.end(): match for match in _GAP.finditer(text) if 0 < match.end() < len(text)}
    ranks: dict[int, int] = {end: _rank(text, match) for end, match in matches.items()}
    positions = sorted(ranks)
    inside: set[int] = set()
    for block in blocks:
        low = bisect.bisect_right(positions, block.start)
        high = bisect.bisect_left(positions, block.end)
        for position in positions[low:high]:
            inside.add(position)
            ranks[position] = _rank_in_block(matches[position][0].count("\n"))
        if block.start > 0:
            is_heading = block.kind == "heading"
            ranks[block.start] = Rank.HEADING + 6 - block.level if is_heading else Rank.PARAGRAPH
    for block in blocks:
        following = bisect.bisect_left(positions, block.end)
        if following < len(positions) and matches[positions[following]].start() == block.end:
            after = positions[following]
            ranks[after] = (
                Rank.AFTER_HEADING if block.kind == "heading" else max(ranks[after], Rank.PARAGRAPH)
            )
    return ranks, inside


def _rank_in_block(line_ends: int) -> Rank:
    return Rank.SENTENCE if line_ends > 1 else Rank.LINE if line_ends else Rank.WORD


def _fitting(
    text: str,
    gaps: list[int],
    ranks: dict[int, int],
    whole: tuple[int, int],
    limit: int,
    size: Size,
) -> Iterator[tuple[int, int, int]]:
    """Parts (start, end, tokens) of a range that fit, cut at the best places that achieve it."""
    pending = [(*whole, int(Rank.SENTENCE))]
    while pending:
        start, end, rank = pending.pop()
        tokens = size(start, end)
        # Blanks stay with the characters before them: alone they would be an empty passage.
        length = len(text[start:end].rstrip())
        if tokens <= limit or length == 1:
            yield start, end, tokens
        elif rank >= Rank.WORD:
            low, high = bisect.bisect_right(gaps, start), bisect.bisect_left(gaps, end)
            inside = [gap for gap in gaps[low:high] if ranks[gap] >= rank]
            parts = itertools.pairwise([start, *inside, end])
            pending += [(*part, rank - 1) for part in reversed(list(parts))]
        else:
            middle = start + length // 2
            pending += [(middle, end, rank), (start, middle, rank)]


def _rank(text: str, gap: re.Match[str]) -> Rank:
    blanks = gap[0]
    lines = blanks.count("\n")
    if lines > 1:
        return Rank.PARAGRAPH
    if lines and (not blanks.endswith("\n") or _LIST_ITEM.match(text, gap.end())):
        # An indented line or a list item stands for itself.
        return Rank.SENTENCE
    before = text[max(0, gap.start() - _LOOK_BACK) : gap.start()]
    if (
        _ENDS_SENTENCE.search(before)
        and (not blanks or _STARTS_SENTENCE.match(text, gap.end()))
        and not _ABBREVIATION.search(before)
    ):
        return Rank.SENTENCE
    return Rank.LINE if lines else Rank.WORD
