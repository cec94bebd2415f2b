"""Digest of each document by its id, in Arrow columns: what two corpora are compared by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tasks.corpus.columns import strings
from tasks.digest import Digest

_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class DocumentDigests:
    """A million of them take 100 MB and a second, which as a dictionary are several of each.

    Attributes:
        ids: `pyarrow.Array` of large strings, each once.
        digests: of the same documents in the same order.
    """

    ids: Any
    digests: Any

    @classmethod
    def of(cls, digests: Mapping[str, Digest]) -> Self:
        """Take them from a dictionary, in its order."""
        import pyarrow as pa

        kind = pa.large_string()
        return cls(strings(digests.keys(), kind), strings(digests.values(), kind))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the two columns of a Parquet file that may have others.

        Raises:
            OSError: there is no such file.
            ValueError: it isn't one.
            KeyError: it lacks a column.
        """
        import pyarrow as pa
        import pyarrow.parquet

        # `read_table` would load Arrow's datasets, and those pandas, which takes longer than this.
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read(columns=["doc_id", "digest"])
        ids, digests = (
            table.column(name).cast(pa.large_string()).combine_chunks()
            for name in ("doc_id", "digest")
        )
        return cls(ids, digests)

    def write(self, path: Path) -> None:
        """Write what `read` reads."""
        import pyarrow as pa
        import pyarrow.parquet

        table = pa.table({"doc_id": self.ids, "digest": self.digests})
        # No value repeats, so a dictionary of values would only cost time.
        pyarrow.parquet.write_table(table, path, compression="zstd", use_dictionary=False)

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self) -> Iterable[list[Digest]]:
        """All digests in order, some at a time."""
        for start in range(0, len(self), _ROWS):
            yield self.digests.slice(start, _ROWS).to_pylist()

    def ids_in(self, other: "DocumentDigests") -> list[str]:
        """Ids that another one has, too, in order."""
        import pyarrow.compute as pc

        shared: list[str] = self.ids.filter(pc.is_in(self.ids, value_set=other.ids)).to_pylist()
        return shared

    def to_dict(self) -> dict[str, Digest]:
        """As a dictionary by id."""
        return dict(zip(self.ids.to_pylist(), self.digests.to_pylist(), strict=True))


@dataclass(frozen=True, slots=True)
class CorpusDiff:
    """Ids of documents that differ between two snapshots, each ordered."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def compare_digests(old: DocumentDigests, new: DocumentDigests) -> CorpusDiff:
    """Which documents were added, changed (title, text or metadata) and removed."""
    import pyarrow.compute as pc

    at = pc.index_in(new.ids, value_set=old.ids)
    known = pc.is_valid(at)
    both = new.ids.filter(known)
    before = old.digests.take(at.filter(known))
    changed = both.filter(pc.not_equal(new.digests.filter(known), before))
    gone = pc.invert(pc.is_in(old.ids, value_set=new.ids))
    return CorpusDiff(
        *(
            tuple(sorted(ids.to_pylist()))
            for ids in (new.ids.filter(pc.invert(known)), changed, old.ids.filter(gone))
        )
    )
