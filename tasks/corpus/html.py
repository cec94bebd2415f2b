"""HTML -> marked text: what a browser would show."""

import re
from collections import Counter
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

from tasks.corpus.hidden_html import hidden_passages
from tasks.corpus.structure import CODE, END, STARTS, TABLE, without_marks
from tasks.corpus.structure import heading as heading_mark

_INVISIBLE = re.compile(r"script|style|noscript|template|head|svg|iframe")
_PARAGRAPH = re.compile(
    r"address|article|aside|blockquote|body|center|details|dialog|dl|fieldset|figure|footer|form"
    r"|h[1-6]|header|hr|main|nav|ol|p|pre|section|summary|table|ul"
)
_LINE = re.compile(r"br|caption|dd|div|dt|figcaption|legend|li|option|tbody|tfoot|thead|tr")
_BLANKS = re.compile(r"\s+")
_HEADING = re.compile(r"h[1-6]")
_OPEN_OR_CLOSE = re.compile(r"<(/?)([a-zA-Z][\w-]*)")
_NEEDS_NO_END = re.compile(
    r"area|base|br|col|dd|dt|embed|hr|img|input|li|link|meta|option|p|source|t[dhr]|wbr"
)

_STARTS_ROW = frozenset({"\n", *STARTS})
_STARTS_LINE = frozenset({" ", "\n", *STARTS})

MAX_DEPTH = 20_000
"""Parsing takes time by the square of the depth: half a second here, minutes at ten times that."""


def too_deep(source: str) -> bool:
    """Whether one kind of element is opened so often without being closed that parsing hangs."""
    opened: Counter[str] = Counter()
    for closing, name in _OPEN_OR_CLOSE.findall(source):
        opened[name.lower()] += -1 if closing else 1
    return any(
        count > MAX_DEPTH and not _NEEDS_NO_END.fullmatch(name) for name, count in opened.items()
    )


class Page(NamedTuple):
    """What an HTML text says: title, None without one, marked text, and what it hides."""

    title: str | None
    text: str
    hidden: tuple[str, ...]


def read_page(source: str) -> Page:
    """Return the title, the visible text and hidden passages of an HTML text.

    Headings, tables and `<pre>` stand between the marks of `tasks/corpus/structure.py`.
    Paragraphs are separated by a blank line, lines and list items by a line end, cells by ` | `.
    Blanks inside a paragraph collapse, except in `<pre>`.
    """
    tree = LexborHTMLParser(without_marks(source))
    heading = tree.css_first("title") or tree.css_first("h1")
    title = heading.text() if heading is not None else None
    text = _render(tree.body) if tree.body is not None else ""
    text = re.sub(r"[ \t]*\n[ \t]*(?=\n)|[ \t]+(?=\n)", "\n", text)
    return Page(title, re.sub(r"\n{3,}", "\n\n", text), hidden_passages(tree))


def _render(body: LexborNode) -> str:
    """Walk with a stack of our own: nesting has no limit in the wild, recursion has."""
    parts: list[str] = []
    stack: list[tuple[LexborNode | str, bool]] = [(body, False)]
    while stack:
        node, preformatted = stack.pop()
        if isinstance(node, str):
            if node == END:
                parts.append(END)
            else:
                _break(parts, node)
            continue
        tag = node.tag or ""
        if tag == "-text":
            text = node.text_content or ""
            _add(parts, text if preformatted else _BLANKS.sub(" ", text))
            continue
        if (tag.startswith("-") and tag != "-undef") or _INVISIBLE.fullmatch(tag):
            continue
        mark = "\n\n" if _PARAGRAPH.fullmatch(tag) else "\n" if _LINE.fullmatch(tag) else ""
        if mark:
            _break(parts, mark)
            stack.append((mark, False))
        if start := _start_of(tag):
            parts.append(start)
            stack.append((END, False))
        if tag == "li":
            parts.append("- ")
        elif tag in ("td", "th") and parts and parts[-1][-1] not in _STARTS_ROW:
            parts.append(" | ")
        children: list[tuple[LexborNode | str, bool]] = []
        child = node.child
        while child is not None:
            children.append((child, preformatted or tag == "pre"))
            child = child.next
        stack.extend(reversed(children))
    return "".join(parts)


def _start_of(tag: str) -> str | None:
    if _HEADING.fullmatch(tag):
        return heading_mark(int(tag[1]))
    return {"table": TABLE, "pre": CODE}.get(tag)


def _add(parts: list[str], text: str) -> None:
    if not text:
        return
    if text[0] == " " and (not parts or parts[-1][-1] in _STARTS_LINE):
        text = text[1:]
    if text:
        parts.append(text)


def _break(parts: list[str], mark: str) -> None:
    """End the line or paragraph once, however many blocks end here."""
    if not parts:
        return
    if parts[-1] in STARTS or parts[-1].endswith("\n\n"):
        return
    if mark == "\n" and parts[-1].endswith("\n"):
        return
    parts.append("\n" if parts[-1].endswith("\n") else mark)
