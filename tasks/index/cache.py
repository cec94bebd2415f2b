"""Text -> the vector that a model gave it before: nothing is embedded twice."""

import fcntl
import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.digest import Digest, digest
from tasks.errors import CorruptArtifact
from tasks.index.chunks import Keys
from tasks.index.compaction import smallest_to_merge
from tasks.index.embed import Vectors
from tasks.index.segment import blocks, release, writing_vectors
from tasks.store import locked, publish, scratch_directory

EMBEDDINGS = "embeddings"
"""Directory of all caches, inside the index room; one below it for each embedding model."""

_SHARD_VERSION = 1
_MANY = 32
_MERGING = ".merging"
_REMOVING = ".removing"
_SUM_BYTES = 8


class EmbeddingCache:
    """Vectors of one embedding model by the digest of the text, in immutable shards.

    A shard is a directory with `keys.npy` (sorted), `vectors.npy` and `sums.npy`, a checksum of
    each row, which is checked when the row is read. Shards appear whole or not at all, so any
    number of processes may read and write at once, and one that is killed loses only the texts of
    its last batch. Small shards are merged into larger ones as they become many.
    """

    def __init__(self, room: Path, embedding: Digest, dimensions: int) -> None:
        self.directory = room / EMBEDDINGS / embedding
        self._dimensions = dimensions
        self._shards: dict[str, _Shard] = {}
        self.refresh()

    def refresh(self) -> None:
        """See what other processes have written."""
        if not self.directory.is_dir():
            return
        with self._nothing_removed():
            names = {path.name for path in self.directory.iterdir() if path.name[0] != "."}
            self._shards = {name: self._shards[name] for name in names & self._shards.keys()}
            for name in sorted(names - self._shards.keys()):
                self._shards[name] = _Shard(self.directory / name, self._dimensions)

    def __len__(self) -> int:
        return sum(len(shard.keys) for shard in self._shards.values())

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Shape (keys,): which texts have a vector."""
        found = np.zeros(len(keys), dtype=np.bool_)
        for shard in self._shards.values():
            found |= shard.find(keys) >= 0
        return found

    def take(self, keys: Keys) -> Vectors:
        """Vectors of texts that the cache has, in their order.

        Raises:
            KeyError: it lacks one.
            CorruptArtifact: a vector isn't the one that was written.
        """
        vectors = np.empty((len(keys), self._dimensions), dtype=np.float32)
        missing = np.ones(len(keys), dtype=np.bool_)
        for shard in self._shards.values():
            rows = shard.find(keys[missing])
            at = np.flatnonzero(missing)[rows >= 0]
            vectors[at] = shard.read(rows[rows >= 0])
            missing[at] = False
            release(shard.vectors)
            if not missing.any():
                break
        if missing.any():
            raise KeyError(bytes(keys[missing][0]).hex())
        return vectors

    def put(self, keys: Keys, vectors: Vectors) -> None:
        """Keep vectors, whose keys must differ; they are on disk when this returns."""
        order = np.argsort(keys)
        with scratch_directory(self.directory, "shard") as partial:
            _write(partial, keys[order], iter([vectors[order]]), self._dimensions)
            self._publish(partial, keys[order])
        if len(self._shards) > _MANY:
            self.merge()

    def parts(self) -> list[Path]:
        """Directories of the shards, each of which another machine can adopt."""
        return [shard.directory for shard in self._shards.values()]

    def export(self, keys: Keys, directory: Path) -> None:
        """Write a shard with the vectors of some texts for another machine to adopt.

        Raises:
            KeyError: the cache lacks one.
            CorruptArtifact: a vector isn't the one that was written.
        """
        ordered = np.sort(keys)
        parts = (self.take(ordered[part]) for part in blocks(len(ordered)))
        _write(directory, ordered, parts, self._dimensions)

    def adopt(self, partial: Path) -> None:
        """Take over a shard that another machine wrote, once each of its vectors was checked.

        Args:
            partial: directory that holds it, on the same disk; it gets the shard's name.

        Raises:
            CorruptArtifact: a file or a vector isn't the one that was written.
        """
        shard = _Shard(partial, self._dimensions)
        for part in blocks(len(shard.keys)):
            shard.read(np.arange(part.start, part.stop))
        self._publish(partial, np.array(shard.keys))
        if len(self._shards) > _MANY:
            self.merge()

    def merge(self) -> None:
        """Make one shard of the smallest ones, so that a lookup reads few of them.

        The sizes of what is left grow like powers of two: each vector is copied a few times.
        """
        with _alone(self.directory / _MERGING) as alone:
            if not alone:
                return
            self.refresh()
            shards = list(self._shards.values())
            sizes = [len(shard.keys) for shard in shards]
            chosen = [shards[position] for position in smallest_to_merge(sizes)]
            keys = np.unique(np.concatenate([shard.keys for shard in chosen]))
            with scratch_directory(self.directory, "shard") as partial:
                parts = (self.take(keys[part]) for part in blocks(len(keys)))
                _write(partial, keys, parts, self._dimensions)
                merged = self._publish(partial, keys)
            with locked(self.directory / _REMOVING):
                for shard in chosen:
                    if shard.directory != merged:
                        shard.remove()
            self.refresh()

    @staticmethod
    def name_of(keys: Keys) -> Digest:
        """Name of the shard with these keys, which are sorted."""
        return digest("embedding-shard", _SHARD_VERSION, hashlib.sha256(keys.tobytes()).hexdigest())

    def _publish(self, partial: Path, keys: Keys) -> Path:
        name = self.name_of(keys)
        final = self.directory / name
        with self._nothing_removed():
            publish(partial, final)
            if name not in self._shards:
                self._shards[name] = _Shard(final, self._dimensions)
        return final

    def _nothing_removed(self) -> AbstractContextManager[None]:
        """While shards are listed and opened, no other process removes one that it has merged."""
        return locked(self.directory / _REMOVING, shared=True)


class _Shard:
    """One directory of a cache, memory-mapped; all its files are opened at once."""

    def __init__(self, directory: Path, dimensions: int) -> None:
        self.directory = directory
        self.keys: Keys = self._open("keys.npy")
        self.vectors: Vectors = self._open("vectors.npy")
        self._sums: NDArray[np.bytes_] = self._open("sums.npy")
        if not (
            self.vectors.shape == (len(self.keys), dimensions) and len(self._sums) == len(self.keys)
        ):
            raise self._damaged("its files have different lengths")

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Row of each key, -1 where it isn't here."""
        if not len(self.keys):
            return np.full(len(keys), -1, dtype=np.int64)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[rows] == keys, rows, -1)

    def read(self, rows: NDArray[np.int64]) -> Vectors:
        """Vectors of some rows, checked."""
        vectors = self.vectors[rows]
        if not np.array_equal(_sums(self.keys[rows], vectors), self._sums[rows]):
            raise self._damaged("a vector isn't the one that was written")
        return vectors

    def remove(self) -> None:
        """Delete it; who has it open can go on reading."""
        # Under another name first: killed in between, no half of it is taken for a shard.
        aside = self.directory.with_name(f".{self.directory.name[:16]}.partial-{uuid.uuid4().hex}")
        self.directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _open(self, name: str) -> Any:
        try:
            return np.load(self.directory / name, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise self._damaged(f"there is no {name}") from None
        except (ValueError, EOFError) as error:
            raise self._damaged(f"{name}: {error}") from error

    def _damaged(self, what: str) -> CorruptArtifact:
        return CorruptArtifact(
            f"A part of the embedding cache is damaged: {what} ({self.directory}).",
            next_step=f"Delete {self.directory} and run again: its texts are embedded anew.",
            directory=str(self.directory),
        )


def _write(directory: Path, keys: Keys, parts: Iterator[Vectors], dimensions: int) -> None:
    sums = []
    start = 0
    with writing_vectors(directory / "vectors.npy", dimensions) as writer:
        for part in parts:
            writer.add(part)
            sums.append(_sums(keys[start : start + len(part)], part))
            start += len(part)
    np.save(directory / "keys.npy", keys, allow_pickle=False)
    np.save(directory / "sums.npy", np.concatenate(sums), allow_pickle=False)


def _sums(keys: Keys, vectors: Vectors) -> NDArray[np.bytes_]:
    """A checksum of each row with its key."""
    found = [
        # In hexadecimal digits: NumPy drops zero bytes at the end of a string.
        hashlib.blake2b(bytes(key) + row.tobytes(), digest_size=_SUM_BYTES).hexdigest()
        for key, row in zip(keys, vectors, strict=True)
    ]
    return np.array(found, dtype=f"S{2 * _SUM_BYTES}")


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether this process is the only one here; the system lets go when it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
