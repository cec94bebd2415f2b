"""Documents that a benchmark makes -> a stored snapshot, as reading sources gives one."""

from collections.abc import Iterable
from pathlib import Path

from tasks.corpus.document import Document
from tasks.corpus.documents import document_tables
from tasks.corpus.snapshot import snapshot_digest
from tasks.corpus.stored import StoredSnapshot, store_documents


def store(documents: Iterable[Document], room: Path) -> StoredSnapshot:
    """Store documents, whose ids must be unique."""
    ordered = sorted(documents, key=lambda document: document.doc_id)
    digests = [document.digest for document in ordered]
    return store_documents(
        room, snapshot_digest([digests]), document_tables(zip(ordered, digests, strict=True)), ()
    )
