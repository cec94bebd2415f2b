"""Documents in the order of their sources -> tables of them in the order of their ids."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.corpus.columns import integers
from tasks.corpus.document import Document
from tasks.corpus.documents import (
    BATCH_CHARACTERS,
    batched,
    document_schema,
    document_table,
    ordered,
)
from tasks.digest import Digest

_MOST_ROWS = 20_000
"""Of short documents: as objects they take more than their texts do."""

Place = tuple[int, int, int]
"""Batch, row in it, and characters of the text."""


class DocumentSpool:
    """Documents that were just read: their texts wait on disk until their order is known.

    No more than a batch of them is in memory, whether they come or go. The file is Arrow's own
    format without compression, so that rows anywhere in it are read without the others.

    Args:
        path: of the file; the owner of its directory removes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[Digest, Place] = {}
        self._batch: list[tuple[Document, Digest]] = []
        self._characters = 0
        self._batches = 0
        self._writer: Any = None

    def __contains__(self, digest: object) -> bool:
        return digest in self._places

    def add(self, document: Document, digest: Digest) -> None:
        """Take a document; one that is here already isn't taken again."""
        if digest in self._places:
            return
        self._places[digest] = (self._batches, len(self._batch), len(document.text))
        self._batch.append((document, digest))
        self._characters += len(document.text)
        if self._characters >= BATCH_CHARACTERS or len(self._batch) == _MOST_ROWS:
            self._write()

    def tables(self, digests: Sequence[Digest]) -> Iterator[Any]:
        """Make `pyarrow.Table`s of some documents, in this order; nothing is added after it.

        Args:
            digests: of documents that were added, ordered by document id.
        """
        import pyarrow as pa

        if not digests:
            return
        self._write()
        self._writer.close()
        places = (self._places[digest] for digest in digests)
        for chosen in batched(places, lambda place: place[2]):
            rows: dict[int, list[int]] = defaultdict(list)
            for number, row, _ in chosen:
                rows[number].append(row)
            # Mapped anew for each table: what the last one looked at leaves memory with it.
            with pa.memory_map(str(self._path)) as file, pa.ipc.open_file(file) as spooled:
                parts = [
                    pa.Table.from_batches([spooled.get_batch(number)]).take(integers(found))
                    for number, found in rows.items()
                ]
            yield ordered(parts)

    def _write(self) -> None:
        import pyarrow as pa

        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._path), document_schema())
        if self._batch:
            table = document_table(self._batch).combine_chunks()
            self._writer.write_table(table)
            self._batches += 1
            self._batch, self._characters = [], 0
