"""Two corpus snapshots -> questions that nobody had to write: sentences that both of them have."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from tasks.corpus.document import Document
from tasks.corpus.pieces import cut_pieces
from tasks.evaluate.suite import Case, Span, Suite

_SHORTEST, _LONGEST = 5, 40
"""Words of a sentence: a shorter one is in many documents, a longer one is a list."""

_SPARE = 2
"""Documents that are read for each probe: some have no fitting sentence."""


def probe_documents(doc_ids: Collection[str], *, count: int, seed: int) -> list[str]:
    """Choose the documents that probes are drawn from; a document's place depends on no other.

    Args:
        doc_ids: of the documents that both snapshots have.
        count: probes that are wanted.
        seed: of the draw.

    Returns:
        At most twice as many as `count`, in the order in which they are used.
    """
    ordered = sorted(doc_ids, key=lambda doc_id: _place(seed, doc_id))
    return ordered[: _SPARE * count]


def draw_probes(
    old: Iterable[Document], new: Iterable[Document], *, count: int, seed: int
) -> Suite | None:
    """Ask for passages by one of their own sentences: which index finds where it stands?

    A probe is a sentence that the document has in both snapshots. Its gold span is the sentence
    and not a chunk, so that no way of chunking is favoured; where it stands in each of them is
    found as for every gold span, by `relocate`. A document gives one probe before any other gives
    a second one: related probes count as one piece of evidence.

    Args:
        old: documents of the live corpus.
        new: the same of the new one.
        count: probes; fewer where there are fewer sentences.
        seed: of the draw.

    Returns:
        Cases with spans in the old documents, one cluster a document; None without any.
    """
    texts = {document.doc_id: document.text for document in new}
    shared = [document for document in old if document.doc_id in texts]
    shared.sort(key=lambda document: _place(seed, document.doc_id))
    waiting = [_probes(document, texts[document.doc_id], seed) for document in shared]
    cases: dict[str, Case] = {}
    while waiting and len(cases) < count:
        left = []
        for probes in waiting:
            probe = next((case for case in probes if case.question not in cases), None)
            if probe is not None:
                cases[probe.question] = probe
                left.append(probes)
        waiting = left
    return Suite("probes", tuple(islice(cases.values(), count))) if cases else None


def _probes(document: Document, new_text: str, seed: int) -> Iterator[Case]:
    """Sentences of a document that its new text has too, in the order of their hashes."""
    found = [
        span for span in _sentences(document) if new_text == document.text or span.quote in new_text
    ]
    for span in sorted(found, key=lambda span: (_place(seed, span.quote), span.start)):
        yield Case(
            case_id=f"{document.doc_id}:{span.start}-{span.end}",
            question=" ".join(span.quote.split()),
            reference="",
            gold=(span,),
            cluster=document.doc_id,
            tags=("probe",),
            must_pass=False,
            aliases=(),
        )


def _sentences(document: Document) -> Iterator[Span]:
    text = document.text

    def words(start: int, end: int) -> int:
        return len(text[start:end].split())

    blocks = [(block.start, block.end) for block in document.blocks]
    for piece in cut_pieces(text, document.blocks, _LONGEST, words):
        sentence = text[piece.start : piece.end].rstrip()
        in_block = any(start < piece.end and piece.start < end for start, end in blocks)
        if not in_block and len(sentence.split()) >= _SHORTEST and sentence[-1] in ".!?":
            yield Span(document.doc_id, piece.start, piece.start + len(sentence), sentence)


def _place(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"probe:{seed}:{text}".encode("utf-8", "surrogatepass")).digest()
