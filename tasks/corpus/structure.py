"""Text that a parser marked up -> plain text and the exact places of headings, tables and code."""

import re
from dataclasses import dataclass
from typing import Literal

BlockKind = Literal["heading", "table", "code"]


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a document's text that isn't prose.

    Attributes:
        kind: what it is.
        start: its first character that isn't blank in the document's text, counted from 0.
        end: one past its last character.
        level: 1 to 6 of a heading, 0 of anything else.
    """

    kind: BlockKind
    start: int
    end: int
    level: int = 0


# Noncharacters: no text that may be exchanged has them, so a parser can use them as marks.
_FIRST = 0xFDD0
END = chr(_FIRST)
_HEADINGS = tuple(chr(_FIRST + level) for level in range(1, 7))
TABLE = chr(_FIRST + 7)
CODE = chr(_FIRST + 8)
STARTS = frozenset({*_HEADINGS, TABLE, CODE})
"""Marks that a block begins with; the text after one starts a line."""

_MARKS = re.compile(f"([{END}-{CODE}])")


def heading(level: int) -> str:
    """The mark before a heading."""
    return _HEADINGS[level - 1]


def without_marks(source: str) -> str:
    """Replace what a parser would mistake for its own marks."""
    return _MARKS.sub("\ufffd", source)


def find_blocks(marked: str) -> tuple[str, tuple[Block, ...]]:
    """Take the marks out of a normalised text.

    Returns:
        The text as it would be without marks, and its blocks in order. A block without any text
        is none, and a table that holds another block is only a layout.
    """
    parts: list[str] = []
    length = 0
    blocks: list[Block] = []
    opened: list[tuple[str, int]] = []
    for part in _MARKS.split(marked):
        if part in STARTS:
            opened.append((part, length))
        elif part == END:
            length -= _strip_end(parts)
            mark, start = opened.pop()
            if start < length and not (blocks and blocks[-1].start >= start):
                blocks.append(_block(mark, start, length))
        else:
            if added := _join(parts, part):
                parts.append(added)
                if opened and opened[-1][1] == length:
                    # Blanks before a block aren't part of it, wherever its mark stood.
                    blank = len(added) - len(added.lstrip())
                    opened[-1] = (opened[-1][0], length + blank)
                length += len(added)
    _strip_end(parts)
    return "".join(parts), tuple(blocks)


def _strip_end(parts: list[str]) -> int:
    """Remove blanks at the end; return how many."""
    removed = 0
    while parts:
        kept = parts[-1].rstrip()
        removed += len(parts[-1]) - len(kept)
        if kept:
            parts[-1] = kept
            break
        parts.pop()
    return removed


def _join(parts: list[str], part: str) -> str:
    """What is added of the next part, so that no two blank lines follow each other."""
    if not parts:
        return part.lstrip()
    line_ends = len(parts[-1]) - len(parts[-1].rstrip("\n"))
    rest = part.lstrip("\n")
    return "\n" * max(0, min(len(part) - len(rest), 2 - line_ends)) + rest


def _block(mark: str, start: int, end: int) -> Block:
    if mark == TABLE:
        return Block("table", start, end)
    if mark == CODE:
        return Block("code", start, end)
    return Block("heading", start, end, ord(mark) - _FIRST)
