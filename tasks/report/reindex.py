"""A re-index -> a page and a summary: what changed, what it cost, how the indexes compare."""

from base64 import b64encode
from typing import Any

from tasks.config import Settings
from tasks.digest import SHORT, Digest
from tasks.gate.retrieval import IndexTests
from tasks.report import numbers
from tasks.report import retrieval as words
from tasks.report.html import SHOWN_DOCUMENTS, environment
from tasks.report.markdown import escape

FACTS, PAGE, PICTURE = "reindex.json", "report.html", "picture.png"
"""Files of a stored report."""


class SegmentFacts(Settings):
    """One segment of the new index."""

    digest: Digest
    kind: str
    chunks: int
    deleted: int
    recall: float | None
    """Measured when it was built; None where search is exact."""


class ReindexFacts(Settings):
    """Everything that a re-index report says, but for the picture."""

    index: Digest
    live: Digest | None
    """The champion's index; None when there is no champion."""
    embedding: str
    documents: int
    chunks: int
    embedded: int
    """By the run that wrote the report."""
    reused: int
    chunks_new: int
    chunks_removed: int
    """Compared by text; both are 0 without a live index of the same embedding model."""
    sampled: bool
    """Whether the picture has only some of the chunks."""
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    """Documents that differ from the live index's."""
    segments: tuple[SegmentFacts, ...]
    tests: IndexTests | None = None
    refused: tuple[str, ...] = ()


def reindex_page(facts: ReindexFacts, *, light: bytes, dark: bytes) -> str:
    """Render the report; it needs no other file and loads nothing.

    Args:
        facts: what it says.
        light: the picture as PNG, for light paper.
        dark: the same for dark paper.
    """
    context: dict[str, Any] = {
        "facts": facts,
        "headline": headline(facts),
        "documents_note": _documents(facts),
        "chunks_note": _chunks(facts),
        "search": _search(facts),
        "light": b64encode(light).decode(),
        "dark": b64encode(dark).decode(),
        "retrieval": facts.tests.tests if facts.tests else (),
        "problems": facts.tests.suite_problems if facts.tests else (),
        "questions_line": words.questions_line(facts.tests) if facts.tests else "",
        "corpus_diff": facts,
        "index": facts,
        "shown_documents": SHOWN_DOCUMENTS,
    }
    return environment().get_template("reindex.html.j2").render(context)


def reindex_markdown(facts: ReindexFacts, *, page: str) -> str:
    """Summarise the report for a Prefect artifact.

    Args:
        facts: what it says.
        page: where the page is, for people to open.
    """
    rows = [
        f"| {escape(test.comparison.measure)} | {words.QUESTION_WORDS[test.questions]} | "
        f"{words.means(test.comparison)} | {words.STATUS_WORDS[test.status]} |"
        for test in (facts.tests.tests if facts.tests else ())
    ]
    costs = (
        f"{numbers.plural(facts.documents, 'document')} ({_documents(facts)}), "
        f"{numbers.plural(facts.chunks, 'chunk')} ({_chunks(facts)}); "
        f"{numbers.count(facts.embedded)} embedded, {numbers.count(facts.reused)} taken over. "
        f"Search: {_search(facts)}."
    )
    parts = [
        f"# {'⏸️' if facts.refused else '✅'} Index {facts.index[:SHORT]}\n\n**{headline(facts)}**",
        costs,
    ]
    if rows:
        parts.append(
            "\n".join(["| Measure | Questions | Means | Result |", "|---|---|---|---|", *rows])
        )
    if facts.refused:
        parts.append("\n".join(f"- {escape(reason)}" for reason in facts.refused))
    if facts.tests and facts.tests.suite_problems:
        problems = "\n".join(f"- {escape(line)}" for line in facts.tests.suite_problems[:20])
        parts.append(f"**Problems of the suite, not of the index**\n\n{problems}")
    parts.append(f"Page with the picture: {escape(page)}")
    return "\n\n".join(parts) + "\n"


def headline(facts: ReindexFacts) -> str:
    """What the re-index came to, in one sentence."""
    if facts.tests is not None:
        return words.headline(facts.tests)
    if facts.live is None:
        return "The first index: there is no live one to compare it with."
    return "The new index wasn't tested beside the live one."


def _documents(facts: ReindexFacts) -> str:
    kinds = (("added", facts.added), ("changed", facts.changed), ("removed", facts.removed))
    return ", ".join(f"{numbers.count(len(names))} {kind}" for kind, names in kinds)


def _chunks(facts: ReindexFacts) -> str:
    return f"{numbers.count(facts.chunks_new)} new, {numbers.count(facts.chunks_removed)} removed"


def _search(facts: ReindexFacts) -> str:
    measured = [row.recall for row in facts.segments if row.recall is not None]
    if not measured:
        return "exact"
    kinds = ", ".join(sorted({row.kind for row in facts.segments if row.recall is not None}))
    return f"{kinds}, recall {numbers.fixed(min(measured), 3)}"
