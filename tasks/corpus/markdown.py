"""CommonMark -> marked text: what a reader of the rendered page would see."""

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tasks.corpus.structure import CODE, END, TABLE, without_marks
from tasks.corpus.structure import heading as heading_mark

_TAG = re.compile(r"<[a-zA-Z/!?][^>]*>")
# The parser leaves out what is nested deeper, in silence; its default is 20.
_MAX_NESTING = 100
_BLOCK_ENDS = frozenset({"paragraph_close", "blockquote_close"})


def marked_text(source: str) -> tuple[str | None, str, tuple[str, ...]]:
    """Return the first heading's text, None without one, the text of all blocks, and hidden ones.

    Headings, tables and code stand between the marks of `tasks/corpus/structure.py`.
    """
    parser = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable("table")
    tokens = parser.parse(without_marks(source))
    heading: str | None = None
    hidden: list[str] = []
    parts: list[str] = []
    markers: list[int | None] = []
    cells = 0
    for position, token in enumerate(tokens):
        match token.type:
            case "inline":
                text = _inline(token.children or ())
                if heading is None and tokens[position - 1].type == "heading_open":
                    heading = text
                parts.append(text)
            case "heading_open":
                parts.append(heading_mark(int(token.tag[1:])))
            case "heading_close":
                parts.append(END + "\n\n")
            case "fence" | "code_block":
                parts.append(CODE + token.content.rstrip("\n") + END + "\n\n")
            case "html_block":
                parts.append(_html(token.content, hidden) + "\n\n")
            case "bullet_list_open":
                markers.append(None)
            case "ordered_list_open":
                markers.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                markers.pop()
                parts.append("\n" if not markers else "")
            case "list_item_open":
                number = markers[-1]
                parts.append(
                    "  " * (len(markers) - 1) + ("- " if number is None else f"{number}. ")
                )
                if number is not None:
                    markers[-1] = number + 1
            case "table_open":
                parts.append(TABLE)
            case "table_close":
                parts.append(END + "\n\n")
            case "tr_open":
                cells = 0
            case "th_open" | "td_open":
                parts.append(" | " if cells else "")
                cells += 1
            case "tr_close":
                parts.append("\n")
            # A tight list's paragraphs are hidden: its items are lines, not paragraphs.
            case kind if kind in _BLOCK_ENDS:
                parts.append("\n" if token.hidden else "\n\n")
    return heading, re.sub(r"\n{3,}", "\n\n", "".join(parts)), tuple(hidden)


def _inline(tokens: Sequence[Token]) -> str:
    parts: list[str] = []
    for token in tokens:
        match token.type:
            case "text" | "code_inline":
                parts.append(token.content)
            case "softbreak":
                parts.append(" ")
            case "hardbreak":
                parts.append("\n")
            case "image":
                parts.append(_inline(token.children or ()))
    return "".join(parts)


def _html(source: str, hidden: list[str]) -> str:
    """Text of raw HTML blocks; without tags there is nothing to parse."""
    if not _TAG.search(source):
        return source
    from tasks.corpus.html import read_page

    page = read_page(source)
    hidden += page.hidden
    return page.text
