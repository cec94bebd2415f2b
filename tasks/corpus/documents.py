"""Documents <-> a Parquet file of them, read and written a batch at a time."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from tasks.corpus.columns import integers, offsets_of, strings
from tasks.corpus.document import Document
from tasks.corpus.structure import Block
from tasks.digest import Digest

T = TypeVar("T")

_BATCH = 2_000
BATCH_CHARACTERS = 8_000_000
"""A batch ends with the document that fills it: how long documents are decides no memory."""


def batched(rows: Iterable[T], characters: Callable[[T], int]) -> Iterator[list[T]]:
    """Rows of documents in batches whose number and texts are bounded."""
    batch: list[T] = []
    held = 0
    for row in rows:
        batch.append(row)
        held += characters(row)
        if len(batch) == _BATCH or held >= BATCH_CHARACTERS:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def document_tables(documents: Iterable[tuple[Document, Digest]]) -> Iterator[Any]:
    """Make `pyarrow.Table`s of documents and their digests, a batch at a time."""
    for batch in batched(documents, lambda pair: len(pair[0].text)):
        yield document_table(batch)


def merged_tables(path: Path, keep: Collection[Digest], new: Iterable[Any]) -> Iterator[Any]:
    """Make tables of some documents of a file and of new ones, all ordered by id.

    What is kept is copied as Arrow has it. A group of the file stays one table, unless more than
    one table of new documents belongs into it.

    Args:
        path: documents ordered by id.
        keep: digests of those to keep.
        new: tables, ordered by id within and among each other.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet

    wanted = strings(keep)
    rest = iter(new)
    pending = next(rest, None)
    with pyarrow.parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            last = table["doc_id"][-1]
            kept = table.filter(pc.is_in(table["digest"], value_set=wanted))
            while pending is not None and (end := _rows_to(last, pending)):
                part, pending = pending.slice(0, end), pending.slice(end)
                if not pending.num_rows:
                    pending = next(rest, None)
                if pending is not None and _rows_to(last, pending):
                    cut = _rows_to(part["doc_id"][-1], kept)
                    yield ordered([kept.slice(0, cut), part])
                    kept = kept.slice(cut)
                else:
                    kept = ordered([kept, part])
            if kept.num_rows:
                yield kept
    if pending is not None:
        yield pending
        yield from rest


def ordered(tables: Sequence[Any]) -> Any:
    """Several `pyarrow.Table`s of documents as one, ordered by id."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.concat_tables(tables)
    # `sort_by` does the same, but loads Arrow's datasets, and those pandas.
    return table.take(pc.sort_indices(table["doc_id"]))


def _rows_to(last: Any, table: Any) -> int:
    """How many rows of an ordered table have an id up to this one."""
    import pyarrow.compute as pc

    return pc.sum(pc.less_equal(table["doc_id"], last)).as_py() or 0


def write_documents(path: Path, tables: Iterable[Any]) -> Counter[str]:
    """Write tables in the order given; no more than one of them is in memory.

    Returns:
        Documents by source.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet

    sources: Counter[str] = Counter()
    with pyarrow.parquet.ParquetWriter(path, document_schema(), compression="zstd") as writer:
        # As one of Arrow's own: it would load pandas to make one of a Python string.
        (source,) = strings(["source"])
        for table in tables:
            writer.write_table(table, row_group_size=_BATCH)
            names = pc.map_lookup(table["metadata"], source, "first")
            sources.update(names.to_pylist())
    return sources


def read_documents(
    path: Path, ids: Collection[str] | None = None
) -> Iterator[tuple[Document, Digest]]:
    """Read documents in the order of the file, each with the digest that is written beside it.

    Args:
        path: the file.
        ids: of those that are wanted, unknown ones are passed over; None: all.
    """
    import pyarrow.compute
    import pyarrow.parquet

    wanted = None if ids is None else strings(sorted(ids), pyarrow.large_string())
    if wanted is not None and not len(wanted):
        return
    with pyarrow.parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            if wanted is None:
                table = file.read_row_group(group)
            else:
                names = file.read_row_group(group, columns=["doc_id"])["doc_id"]
                mask = pyarrow.compute.is_in(names, value_set=wanted)
                if not pyarrow.compute.any(mask).as_py():
                    continue
                table = file.read_row_group(group).filter(mask)
            for row in table.to_pylist():
                yield _document(row), row["digest"]


def read_metadata(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Id and metadata of each document, in the order of the file; no text is read."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH, columns=["doc_id", "metadata"]):
            ids, metadata = (batch.column(name).to_pylist() for name in ("doc_id", "metadata"))
            yield from zip(ids, map(dict, metadata), strict=True)


def _document(row: dict[str, Any]) -> Document:
    return Document(
        row["doc_id"],
        row["title"],
        row["text"],
        dict(row["metadata"]),
        tuple(Block(**block) for block in row["blocks"]),
    )


def document_schema() -> Any:
    """Columns of a file of documents."""
    import pyarrow as pa

    block = {"kind": pa.string(), "start": pa.int64(), "end": pa.int64(), "level": pa.int8()}
    return pa.schema(
        {
            "doc_id": pa.large_string(),
            "title": pa.large_string(),
            "text": pa.large_string(),
            "metadata": pa.map_(pa.string(), pa.string()),
            "blocks": pa.list_(pa.struct(block)),
            "digest": pa.string(),
        }
    )


def document_table(batch: Sequence[tuple[Document, Digest]]) -> Any:
    """One `pyarrow.Table` of documents and their digests."""
    import pyarrow as pa

    documents = [document for document, _ in batch]
    large, schema = pa.large_string(), document_schema()
    metadata = [sorted(document.metadata.items()) for document in documents]
    pairs = list(chain.from_iterable(metadata))
    blocks = [block for document in documents for block in document.blocks]
    fields = list(schema.field("blocks").type.value_type)
    parts = [
        strings(block.kind for block in blocks),
        integers(block.start for block in blocks),
        integers(block.end for block in blocks),
        integers((block.level for block in blocks), pa.int8()),
    ]
    return pa.table(
        {
            "doc_id": strings((document.doc_id for document in documents), large),
            "title": strings((document.title for document in documents), large),
            "text": strings((document.text for document in documents), large),
            "metadata": pa.MapArray.from_arrays(
                offsets_of(metadata),
                strings(name for name, _ in pairs),
                strings(value for _, value in pairs),
            ),
            "blocks": pa.ListArray.from_arrays(
                offsets_of([document.blocks for document in documents]),
                pa.StructArray.from_arrays(parts, fields=fields),
            ),
            "digest": strings(digest for _, digest in batch),
        },
        schema=schema,
    )
