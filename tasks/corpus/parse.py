"""Bytes of one file -> its title and plain text, or the reason why there is none."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.corpus.document import Reason, normalise
from tasks.corpus.structure import Block, find_blocks

if TYPE_CHECKING:
    from pypdf import PageObject

PARSER_VERSION = 1
"""Bumped when equal bytes give another text, title or block."""

_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(\S.*)$", re.MULTILINE)
_META_CHARSET = re.compile(rb"<meta[^>]*?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_META_WINDOW = 4096
_SHOWS_TEXT = frozenset({b"Tj", b"TJ", b"'", b'"'})
_INVISIBLE = 3
"""Text rendering mode of PDF (ISO 32000, table 104): neither filled nor stroked."""
_LONGEST_HIDDEN = 2_000
_BOMS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


class Parsed(NamedTuple):
    """What a file says: its own title, None where it has none, and its normalised text.

    `hidden` is text of the file that a reader of the rendered page doesn't see, some of it or none.
    """

    title: str | None
    text: str
    blocks: tuple[Block, ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a file gives no text."""

    reason: Reason
    detail: str


def parse(data: bytes, *, suffix: str) -> Parsed | Unreadable:
    """Parse by file name suffix (`.md`, with the dot); what isn't known is read as text."""
    return _PARSERS.get(suffix.lower(), parse_text)(data)


def file_title(path: PurePath) -> str:
    """The title of a file that names none itself."""
    return one_line(path.stem.replace("_", " ").replace("-", " ")) or path.name


def one_line(text: str) -> str:
    """Normalise a title: no line breaks, single blanks."""
    return " ".join(normalise(text).split())


def parse_text(data: bytes) -> Parsed | Unreadable:
    """Read UTF-8, with or without a byte order mark."""
    decoded = _decode(data, "utf-8")
    return decoded if isinstance(decoded, Unreadable) else Parsed(None, normalise(decoded))


def parse_markdown(data: bytes) -> Parsed | Unreadable:
    """CommonMark with tables -> plain text; the title is the first heading's text.

    Front matter is no text; its `title` counts where the file has no heading.
    """
    from tasks.corpus.markdown import marked_text

    decoded = _decode(data, "utf-8")
    if isinstance(decoded, Unreadable):
        return decoded
    source = decoded.replace("\r\n", "\n").replace("\r", "\n")
    front_title = None
    if front := _FRONT_MATTER.match(source):
        if named := _FRONT_TITLE.search(front[1]):
            front_title = named[1].strip().strip("\"'")
        source = source[front.end() :]
    try:
        heading, text, hidden = marked_text(source)
    except RecursionError:
        return Unreadable("broken", "Its lists or quotes are nested too deep to be read.")
    return Parsed(_title(heading) or _title(front_title), *find_blocks(normalise(text)), hidden)


def parse_html(data: bytes) -> Parsed | Unreadable:
    """HTML -> visible text without scripts and styles; the title is `<title>`, else the first h1.

    The character set is the one that the file declares, else UTF-8.
    """
    from tasks.corpus.html import MAX_DEPTH, read_page, too_deep

    declared = _META_CHARSET.search(data[:_META_WINDOW])
    charset = declared[1].decode("ascii") if declared else "utf-8"
    decoded = _decode(data, charset)
    if isinstance(decoded, Unreadable):
        return decoded
    if too_deep(decoded):
        detail = f"Its elements are nested more than {MAX_DEPTH:,} deep; most are never closed."
        return Unreadable("broken", detail)
    page = read_page(decoded)
    return Parsed(_title(page.title), *find_blocks(normalise(page.text)), page.hidden)


def parse_pdf(data: bytes) -> Parsed | Unreadable:
    """Text of a PDF's pages in order; the title is the one in its metadata."""
    from pypdf import PdfReader

    try:
        with _silent("pypdf"):
            reader = PdfReader(BytesIO(data))
            if reader.is_encrypted and not reader.decrypt(""):
                return Unreadable("broken", "The PDF is encrypted and asks for a password.")
            hidden: list[str] = []
            pages = [_pdf_page(page, hidden) for page in reader.pages]
            title = reader.metadata.title if reader.metadata else None
    except MemoryError:
        raise
    # A malformed PDF makes pypdf raise nearly anything; whatever it is, this file is broken.
    except Exception as error:
        return Unreadable("broken", f"Not a readable PDF: {type(error).__name__}: {error}.")
    text = normalise("\n\n".join(pages))
    if not text:
        return Unreadable(
            "empty", f"The PDF's {len(pages)} page(s) hold no text; scanned pages need OCR first."
        )
    return Parsed(_title(title), text, hidden=tuple(hidden))


def _pdf_page(page: "PageObject", hidden: list[str]) -> str:
    """The text of a page; what it draws in the invisible mode goes to `hidden` as well.

    A page that has nothing but invisible text is a scan with its recognised text.
    """
    mode = [0]
    unseen: list[str] = []
    seen = [False]

    def before(operator: bytes, operands: list[Any], *_: object) -> None:
        if operator == b"Tr" and operands:
            mode[0] = int(operands[0])
        elif operator in _SHOWS_TEXT and operands:
            if mode[0] == _INVISIBLE:
                last = operands[-1]
                parts = last if isinstance(last, list) else [last]
                unseen.append("".join(_pdf_string(part) for part in parts))
            else:
                seen[0] = True

    text = page.extract_text(visitor_operand_before=before)
    if seen[0] and unseen:
        hidden.append(" ".join(unseen)[:_LONGEST_HIDDEN])
    return text


def _pdf_string(part: object) -> str:
    """A shown string; numbers between strings only move it."""
    return (
        part.decode("latin-1") if isinstance(part, bytes) else part if isinstance(part, str) else ""
    )


def _decode(data: bytes, charset: str) -> str | Unreadable:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return Unreadable("wrong_encoding", f"The file is {name}; expected UTF-8.")
    is_utf8 = charset.lower().replace("-", "").replace("_", "") == "utf8"
    try:
        text = data.decode("utf-8-sig" if is_utf8 else charset)
    except LookupError:
        return Unreadable("wrong_encoding", f"The file declares an unknown charset {charset!r}.")
    except UnicodeError as error:
        return Unreadable("wrong_encoding", f"The file is not {charset}: {error}.")
    if "\0" in text:
        return Unreadable("wrong_encoding", "The file holds NUL characters: binary or UTF-16.")
    return text


def _title(text: str | None) -> str | None:
    return (one_line(text) or None) if text else None


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a library's log lines about one bad file away from the user's terminal."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


_PARSERS: dict[str, Callable[[bytes], Parsed | Unreadable]] = {
    ".md": parse_markdown,
    ".markdown": parse_markdown,
    ".html": parse_html,
    ".htm": parse_html,
    ".xhtml": parse_html,
    ".pdf": parse_pdf,
}
