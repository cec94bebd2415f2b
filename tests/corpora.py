"""A corpus snapshot in memory, for tests that aren't about storing it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from tasks.corpus.digests import DocumentDigests
from tasks.corpus.document import Document, Problem
from tasks.corpus.snapshot import snapshot_digest


class MemorySnapshot:
    """Documents in any order; their ids must be unique."""

    def __init__(self, documents: Iterable[Document], problems: Sequence[Problem] = ()) -> None:
        self.documents = tuple(sorted(documents, key=lambda document: document.doc_id))
        self.problems = tuple(problems)
        self.was_read: list[str] = []
        """Ids of documents whose text was asked for."""

    @property
    def n_documents(self) -> int:
        return len(self.documents)

    @cached_property
    def digests(self) -> DocumentDigests:
        return DocumentDigests.of({item.doc_id: item.digest for item in self.documents})

    @cached_property
    def digest(self) -> str:
        return snapshot_digest(self.digests.batches())

    def read(self, ids: Collection[str] | None = None) -> Iterator[Document]:
        for document in self.documents:
            if ids is None or document.doc_id in ids:
                self.was_read.append(document.doc_id)
                yield document

    def metadata(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        return ((document.doc_id, document.metadata) for document in self.documents)
