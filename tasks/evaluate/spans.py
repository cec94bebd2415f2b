"""A suite and a corpus snapshot -> where the quotes that answer each question are now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tasks.corpus.snapshot import Snapshot
from tasks.errors import SuiteError
from tasks.evaluate.suite import Lost, Span, Suite

_SHOWN_ERRORS = 20
_SHOWN_PLACES = 3


@dataclass(frozen=True, slots=True)
class MovedSpan:
    """A quote that is elsewhere in its document now.

    Attributes:
        case_id: the case.
        old: where the suite says.
        new: where it is; of several places the one nearest to the old start.
        places: how often the document has the quote; more than one: a person should look.
    """

    case_id: str
    old: Span
    new: Span
    places: int


@dataclass(frozen=True, slots=True)
class LostSpan:
    """A quote that its document doesn't have any more, or whose document is gone.

    Attributes:
        case_id: the case.
        span: what the suite says.
        reason: which of the two.
        elsewhere: ids of other documents that have the quote, at most three.
    """

    case_id: str
    span: Span
    reason: Literal["unknown_document", "quote_not_found"]
    elsewhere: tuple[str, ...]

    @property
    def lost(self) -> Lost:
        """What is gone: a document under another name still answers."""
        if self.reason == "quote_not_found":
            return "quote"
        return "document" if self.elsewhere else "both"


@dataclass(frozen=True, slots=True)
class SuiteCheck:
    """What became of a suite's evidence in a corpus.

    Attributes:
        n_cases: cases of the suite.
        n_spans: gold spans of all cases.
        moved: spans to relocate; the suite is usable.
        lost: spans that nothing can be retrieved for; somebody has to edit the suite.
    """

    n_cases: int
    n_spans: int
    moved: tuple[MovedSpan, ...]
    lost: tuple[LostSpan, ...]

    @property
    def ambiguous(self) -> tuple[MovedSpan, ...]:
        """Moved spans whose quote is in its document more than once."""
        return tuple(span for span in self.moved if span.places > 1)

    @property
    def in_place(self) -> bool:
        """Whether every span is where the suite says."""
        return not self.moved and not self.lost

    def lines(self) -> list[str]:
        """One sentence a problem, lost ones first."""
        return [lost_line(span) for span in self.lost] + [_moved_line(span) for span in self.moved]


def check_suite(suite: Suite, corpus: Snapshot) -> SuiteCheck:
    """Look for every quote in the documents of a corpus.

    Only documents that the suite names are read; all are only where a quote isn't in its own.
    """
    gold = [(case.case_id, span) for case in suite.cases for span in case.gold]
    texts = {item.doc_id: item.text for item in corpus.read({span.doc_id for _, span in gold})}
    moved: list[MovedSpan] = []
    missing: list[tuple[str, Span]] = []
    for case_id, span in gold:
        text = texts.get(span.doc_id, "")
        if text[span.start : span.end] == span.quote:
            continue
        if starts := _occurrences(text, span.quote):
            start = min(starts, key=lambda place: (abs(place - span.start), place))
            new = replace(span, start=start, end=start + len(span.quote))
            moved.append(MovedSpan(case_id, span, new, len(starts)))
        else:
            missing.append((case_id, span))
    elsewhere = _documents_with([span.quote for _, span in missing], corpus)
    lost = tuple(
        LostSpan(
            case_id,
            span,
            "quote_not_found" if span.doc_id in texts else "unknown_document",
            tuple(elsewhere[span.quote]),
        )
        for case_id, span in missing
    )
    return SuiteCheck(len(suite.cases), len(gold), tuple(moved), lost)


def relocate(
    suite: Suite, check: SuiteCheck, *, lost: Literal["refuse", "keep"] = "refuse"
) -> Suite:
    """Give every span the position that its quote has in a corpus.

    Args:
        suite: its digest doesn't change.
        check: what `check_suite` found in the corpus, of this suite or of one with more cases.
        lost: what to do when a quote is gone: `refuse` the suite, or `keep` the span and mark it,
            so that measures that need it have no value.

    Raises:
        SuiteError: quotes are gone, and `lost` is `refuse`.
    """
    if check.lost and lost == "refuse":
        shown = "\n".join(f"  {lost_line(span)}" for span in check.lost[:_SHOWN_ERRORS])
        raise SuiteError(
            f"{len(check.lost)} of {check.n_spans} gold spans of suite {suite.name!r} are not in "
            f"the corpus; expected every quote in its document:\n{shown}",
            next_step="Correct or remove these cases; list them with: ratchet suite check",
            lost=check.lost,
        )
    places = {(moved.case_id, moved.old): moved.new for moved in check.moved}
    places |= {(gone.case_id, gone.span): replace(gone.span, lost=gone.lost) for gone in check.lost}
    cases = tuple(
        replace(case, gold=tuple(places.get((case.case_id, span), span) for span in case.gold))
        for case in suite.cases
    )
    return Suite(suite.name, cases)


def _documents_with(quotes: Sequence[str], corpus: Snapshot) -> dict[str, list[str]]:
    """Ids of the first few documents that have each quote."""
    found: dict[str, list[str]] = {quote: [] for quote in quotes}
    open_quotes = set(found)
    if not open_quotes:
        return found
    for document in corpus.read():
        for quote in [quote for quote in open_quotes if quote in document.text]:
            found[quote].append(document.doc_id)
            if len(found[quote]) == _SHOWN_PLACES:
                open_quotes.discard(quote)
        if not open_quotes:
            break
    return found


def _occurrences(text: str, quote: str) -> list[int]:
    """Every start of a quote, overlapping ones too."""
    starts = []
    start = text.find(quote)
    while start >= 0:
        starts.append(start)
        start = text.find(quote, start + 1)
    return starts


def lost_line(lost: LostSpan) -> str:
    """What became of a quote, in one sentence."""
    where = f" Other documents have it: {', '.join(lost.elsewhere)}." if lost.elsewhere else ""
    if lost.reason == "unknown_document":
        return f"{lost.case_id}: the corpus has no document {lost.span.doc_id!r}.{where}"
    return f"{lost.case_id}: {lost.span.doc_id!r} doesn't have {lost.span.quote!r:.100}.{where}"


def _moved_line(moved: MovedSpan) -> str:
    several = (
        f", the nearest of {moved.places} places; look whether it is the right one"
        if moved.places > 1
        else ""
    )
    return (
        f"{moved.case_id}: the quote in {moved.old.doc_id!r} moved from {moved.old.start}-"
        f"{moved.old.end} to {moved.new.start}-{moved.new.end}{several}."
    )
