"""The first thing on the data flow: what a source yields, a document or a problem with one."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tasks.corpus.structure import Block
from tasks.digest import Digest, digest

Reason = Literal[
    "empty",
    "broken",
    "unreadable",
    "over_limit",
    "too_large",
    "duplicate",
    "wrong_encoding",
    "hidden_text",
    "instructions",
]

_DOCUMENT_VERSION = 1
# str.splitlines would also break at form feeds and the like, which appear inside sentences.
_LINE_END = re.compile(r"\r\n?|\u2028|\u2029")


def normalise(text: str) -> str:
    r"""Bring a text to the one form that spans point into.

    Unicode NFC, `\n` line ends, no blanks at the end of a line, none around the text.
    `normalise(normalise(t)) == normalise(t)`. Surrogates without a partner, which UTF-8 can't
    store, become U+FFFD.
    """
    storable = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    lines = _LINE_END.sub("\n", unicodedata.normalize("NFC", storable))
    # A pattern for blanks at the end of a line would try every blank of a long run anew.
    return "\n".join(line.rstrip() for line in lines.split("\n")).strip()


@dataclass(frozen=True, slots=True)
class Document:
    """One text that can be cited.

    Attributes:
        doc_id: unique in a corpus and stable from one snapshot to the next.
        title: what a reader would call it; embedded together with each passage.
        text: normalised; gold spans and chunks are character ranges of it.
        metadata: at least `source`, the name of the source it came from.
        blocks: headings, tables and code in the text, in order and without overlap.
    """

    doc_id: str
    title: str
    text: str
    metadata: Mapping[str, str] = field(hash=False)
    blocks: tuple[Block, ...] = ()

    @property
    def digest(self) -> Digest:
        """Identity of everything the document says, metadata included."""
        content: list[object] = [self.doc_id, self.title, self.text, dict(self.metadata)]
        if self.blocks:
            content.append([[b.kind, b.start, b.end, b.level] for b in self.blocks])
        return digest("document", _DOCUMENT_VERSION, content)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with something in a source; it is reported, and the rest is still read.

    Attributes:
        source: name of the source.
        name: the document, file or module, as the user would look for it.
        reason: what kind of problem.
        detail: one sentence with the values.
        is_kept: whether the document is in the corpus all the same, as a check only reports it.
    """

    source: str
    name: str
    reason: Reason
    detail: str
    is_kept: bool = False
