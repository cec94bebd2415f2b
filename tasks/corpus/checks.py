"""Documents -> documents and what is suspicious about them: hidden text, orders to the model."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from tasks.config import CheckAction, DocumentChecks
from tasks.corpus.document import Document, Problem, Reason
from tasks.corpus.instructions import find_instruction

CHECKS_VERSION = 1
"""Bumped when an equal document is judged otherwise."""

NO_CHECKS = DocumentChecks(hidden_text="off", instructions="off")

_SHOWN = 160
_HIDDEN_WORDS = 4
"""Fewer hidden words are labels of menus and buttons."""
# Zero-width joiners and non-joiners shape letters and emoji in honest text: only between two Latin
# letters, where they shape nothing, are they taken as hidden.
_ZERO_WIDTH = re.compile(
    "[A-Za-z][\u200b\u200c\u200d\u2060\ufeff]+(?=[A-Za-z])|[\u200b-\u200d\u2060\ufeff]{4,}"
)
_BIDI = re.compile("[\u202d\u202e]")
# Invisible copies of ASCII; a flag's emoji is the one honest use.
_TAGS = re.compile("(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0020-\U000e007f]+")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


def checked(
    items: Iterable[Document | Problem],
    checks: DocumentChecks,
    *,
    hidden: Sequence[str] = (),
) -> Iterator[Document | Problem]:
    """Look at each document; what is found is reported, and the document kept or left out.

    Args:
        items: what a source gave.
        checks: what happens to a document that is suspicious.
        hidden: text that the document's file holds and a reader doesn't see.

    Yields:
        The items, each document after its problems and only if no check holds it back.
    """
    for item in items:
        if isinstance(item, Problem):
            yield item
            continue
        found = list(_findings(item, checks, hidden))
        yield from (problem for _, problem in found)
        if all(action != "quarantine" for action, _ in found):
            yield item


def _findings(
    document: Document, checks: DocumentChecks, hidden: Sequence[str]
) -> Iterator[tuple[CheckAction, Problem]]:
    if checks.hidden_text != "off" and (what := _hidden(document.text, hidden)):
        yield checks.hidden_text, _problem(document, checks.hidden_text, "hidden_text", what)
    if checks.instructions != "off" and (what := _instruction(document, hidden)):
        yield checks.instructions, _problem(document, checks.instructions, "instructions", what)


def _problem(document: Document, action: CheckAction, reason: Reason, detail: str) -> Problem:
    is_kept = action == "report"
    fate = "It is kept." if is_kept else "It is left out."
    source = document.metadata["source"]
    return Problem(source, document.doc_id, reason, f"{detail} {fate}", is_kept)


def _hidden(text: str, hidden: Sequence[str]) -> str | None:
    for part in hidden:
        if len(part.split()) >= _HIDDEN_WORDS:
            return f"A reader doesn't see: {_excerpt(part)!r}."
    for name, pattern in (("zero-width", _ZERO_WIDTH), ("direction", _BIDI), ("tag", _TAGS)):
        if match := pattern.search(text):
            around = text[max(0, match.start() - 20) : match.end() + 20]
            return f"It holds invisible {name} characters: {around!a}."
    return None


def _instruction(document: Document, hidden: Sequence[str]) -> str | None:
    # Invisible characters inside words are a way to get past patterns.
    for text in (document.text, *hidden):
        plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
        if found := find_instruction(plain):
            return f"It seems to address the model: {_excerpt(found)!r}."
    return None


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
