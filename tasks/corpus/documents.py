"""Documents <-> a Parquet file of them, read and written a batch at a time."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tasks.corpus.columns import integers, offsets_of, strings
from tasks.corpus.document import Document
from tasks.corpus.structure import Block
from tasks.digest import Digest

_BATCH = 2_000


def document_tables(documents: Iterable[tuple[Document, Digest]]) -> Iterator[Any]:
    """Make `pyarrow.Table`s of documents and their digests, a batch at a time."""
    rows = iter(documents)
    while batch := list(islice(rows, _BATCH)):
        yield _table(batch)


def merged_tables(
    path: Path, keep: Collection[Digest], new: Sequence[tuple[Document, Digest]]
) -> Iterator[Any]:
    """Make tables of some documents of a file and of new ones, all ordered by id.

    What is kept is copied as Arrow has it: a document becomes an object only where it is new.

    Args:
        path: documents ordered by id.
        keep: digests of those to keep.
        new: ordered by id.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet

    wanted = strings(keep)
    start = 0
    with pyarrow.parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            last = table["doc_id"][-1].as_py()
            end = bisect_right(new, last, lo=start, key=lambda pair: pair[0].doc_id)
            kept = table.filter(pc.is_in(table["digest"], value_set=wanted))
            if end > start:
                kept = pa.concat_tables([kept, _table(new[start:end])])
                # `sort_by` does the same, but loads Arrow's datasets, and those pandas.
                kept = kept.take(pc.sort_indices(kept["doc_id"]))
            start = end
            if kept.num_rows:
                yield kept
    yield from document_tables(new[start:])


def write_documents(path: Path, tables: Iterable[Any]) -> Counter[str]:
    """Write tables in the order given; no more than one of them is in memory.

    Returns:
        Documents by source.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet

    sources: Counter[str] = Counter()
    with pyarrow.parquet.ParquetWriter(path, _schema(), compression="zstd") as writer:
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


def _schema() -> Any:
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


def _table(batch: Sequence[tuple[Document, Digest]]) -> Any:
    import pyarrow as pa

    documents = [document for document, _ in batch]
    large, schema = pa.large_string(), _schema()
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
