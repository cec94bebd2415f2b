"""The chunks of an index as a memory-mapped Arrow table, in the order of the vectors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.corpus.chunk import Chunk
from tasks.digest import Digest

CHUNKS = "chunks"
_FINGERPRINT = 16


def save_chunks(
    directory: Path, chunks: Sequence[Chunk], text_digests: Sequence[Digest], *, name: Digest
) -> None:
    """Write `directory/chunks/`, one row a chunk.

    Args:
        directory: of the index.
        chunks: in the order of the vectors.
        text_digests: of the text that was embedded for each chunk, by which a later version finds
            the vector again.
        name: digest of the index.
    """
    import pyarrow as pa
    from datasets import Dataset
    from datasets.table import InMemoryTable

    columns: dict[str, Any] = {
        field: pa.array([getattr(chunk, field) for chunk in chunks], type=kind)
        for field, kind in (
            ("chunk_id", pa.string()),
            ("doc_id", pa.string()),
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("text", pa.large_string()),
            ("title", pa.large_string()),
        )
    }
    table = pa.table(columns | {"text_digest": pa.array(text_digests, type=pa.string())})
    # A fingerprint of its own would be random, and so would the bytes on disk.
    dataset = Dataset(InMemoryTable(table), fingerprint=name[:_FINGERPRINT])
    with _without_progress_bars():
        dataset.save_to_disk(directory / CHUNKS)


def load_chunks(directory: Path) -> Any:
    """Open the `datasets.Dataset` of an index; rows are read from disk when they are asked for."""
    from datasets import load_from_disk

    with _without_progress_bars():
        return load_from_disk(directory / CHUNKS, keep_in_memory=False)


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    import datasets

    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()
