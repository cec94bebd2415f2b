"""The chunks of a segment as a memory-mapped Arrow file, in the order of the vectors."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tasks.corpus.chunk import Chunk
from tasks.corpus.columns import held_integers, integers, strings
from tasks.digest import text_digest

CHUNKS = "chunks.arrow"
FIELDS = ("chunk_id", "doc_id", "title", "text", "start", "end")
"""What a reader gets of a chunk."""

Keys = NDArray[np.bytes_]
"""Shape (texts,), dtype S32: SHA-256 of each text that was or will be embedded."""

BATCH = 4096
"""Rows of a record batch: what is in memory at once."""


def embedded_text(title: str, text: str) -> str:
    """What the model reads of a chunk: a line with the document's title, then the passage."""
    return f"{title}\n{text}"


class ChunkWriter:
    """Writes an Arrow file batch by batch; a context manager."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self._schema = pa.schema(
            [
                ("chunk_id", pa.string()),
                ("doc_id", pa.string()),
                ("start", pa.int64()),
                ("end", pa.int64()),
                ("text", pa.large_string()),
                ("title", pa.large_string()),
                ("text_digest", pa.binary(32)),
            ]
        )
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, self._schema)
        self._pending: list[Chunk] = []
        self.rows = 0

    def add(self, chunk: Chunk) -> None:
        """Append a chunk as the next row."""
        self._pending.append(chunk)
        if len(self._pending) == BATCH:
            self.flush()

    def add_batch(self, batch: Any) -> None:
        """Append rows of another segment, a `pyarrow.RecordBatch`, as they are."""
        self.flush()
        self._writer.write_batch(batch)
        self.rows += batch.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.flush()
            self._writer.close()
        finally:
            self._file.close()

    def flush(self) -> None:
        """Write what was added, so that `rows` counts it."""
        import pyarrow as pa

        if not self._pending:
            return
        chunks = self._pending
        columns = {
            "chunk_id": strings(chunk.chunk_id for chunk in chunks),
            "doc_id": strings(chunk.doc_id for chunk in chunks),
            "start": integers(chunk.start for chunk in chunks),
            "end": integers(chunk.end for chunk in chunks),
            "text": strings((chunk.text for chunk in chunks), pa.large_string()),
            "title": strings((chunk.title for chunk in chunks), pa.large_string()),
            "text_digest": _digests([embedded_text(chunk.title, chunk.text) for chunk in chunks]),
        }
        self._writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=self._schema))
        self.rows += len(self._pending)
        self._pending = []


class ChunkTable:
    """An Arrow file of chunks; rows are read from disk when they are asked for."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]
        self._ends = list(accumulate(batch.num_rows for batch in self._batches))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """All rows in order, a `pyarrow.RecordBatch` at a time."""
        for batch in self._batches:
            yield batch if columns is None else batch.select(list(columns))

    def rows(self, wanted: Sequence[int], columns: Sequence[str] = FIELDS) -> list[dict[str, Any]]:
        """Some rows, in the order in which they are asked for."""
        by_batch: dict[int, list[int]] = {}
        for row in wanted:
            by_batch.setdefault(bisect_right(self._ends, row), []).append(row)
        found: dict[int, dict[str, Any]] = {}
        for number, rows in by_batch.items():
            batch = self._batches[number]
            start = self._ends[number] - batch.num_rows
            read = [(name, batch.column(name)) for name in columns]
            # A few rows of each batch: value by value is faster than Arrow's `take`.
            found.update(
                {row: {name: column[row - start].as_py() for name, column in read} for row in rows}
            )
        return [found[row] for row in wanted]

    def select(self, rows: NDArray[np.int64]) -> Iterator[Any]:
        """Some rows, whose numbers grow, a `pyarrow.RecordBatch` at a time."""
        first = 0
        for batch in self._batches:
            low, high = np.searchsorted(rows, (first, first + batch.num_rows))
            if low < high:
                yield batch.take(positions(rows[low:high] - first))
            first += batch.num_rows

    def keys(self) -> Keys:
        """Digest of the embedded text of each row."""
        parts = [_fixed_bytes(batch.column("text_digest")) for batch in self._batches]
        return np.concatenate(parts) if parts else np.empty(0, dtype="S32")

    def rows_of(self, doc_ids: Sequence[str]) -> NDArray[np.bool_]:
        """Shape (rows,): which rows are of one of these documents."""
        import pyarrow.compute as pc

        wanted = strings(doc_ids)
        parts = [
            _marks(pc.is_in(batch.column("doc_id"), value_set=wanted)) for batch in self._batches
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.bool_)


def positions(rows: NDArray[np.int64]) -> Any:
    """Rows as what Arrow's `take` takes, without pandas: see `tasks/corpus/columns.py`."""
    return held_integers(np.ascontiguousarray(rows, dtype=np.int64))


def _digests(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    held = b"".join(bytes.fromhex(text_digest(text)) for text in texts)
    return pa.Array.from_buffers(pa.binary(32), len(texts), [None, pa.py_buffer(held)])


def _marks(column: Any) -> NDArray[np.bool_]:
    """Truth values, none of them missing; Arrow's `to_numpy` would load pandas."""
    import pyarrow as pa

    held = column.cast(pa.uint8())
    found: NDArray[np.uint8] = np.frombuffer(held.buffers()[1], dtype=np.uint8, count=len(held))
    return found.astype(np.bool_)


def _fixed_bytes(column: Any) -> Keys:
    start = column.offset * 32
    data = memoryview(column.buffers()[1])[start : start + len(column) * 32]
    return np.frombuffer(data, dtype="S32")
