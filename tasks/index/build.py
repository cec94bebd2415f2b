"""Corpus snapshot -> index version, embedding only what the previous version hasn't."""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.config import Chunking
from tasks.corpus.chunk import Chunk, chunk_document
from tasks.corpus.snapshot import CorpusDiff, CorpusSnapshot, compare_digests
from tasks.digest import Digest, file_digest, text_digest
from tasks.errors import CorpusError, Terminal
from tasks.index.chunks import load_chunks, save_chunks
from tasks.index.embed import Embedder, Vectors
from tasks.index.version import (
    DOCUMENTS,
    FAISS,
    VECTORS,
    IndexVersion,
    check_files,
    index_digest,
    load_version,
    save_version,
)
from tasks.store import new_directory

__all__ = ["BuildReport", "build_index", "index_digest"]

LEFTOVER_AGE_S = 24 * 3600
"""A half-built directory that nobody wrote to for so long belongs to a build that died."""

_SAMPLE = 32
_DISK = "Check the disk below the state directory, then run again: nothing was kept."
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build gave and what it cost.

    Attributes:
        version: the manifest.
        directory: `room/<digest>`.
        embedded: texts that went through the model.
        reused: chunks that took their vector from the previous version or from an equal text;
            all of them when the version was there already.
        diff: documents that differ from the previous version's; None without one.
    """

    version: IndexVersion
    directory: Path
    embedded: int
    reused: int
    diff: CorpusDiff | None


def build_index(
    snapshot: CorpusSnapshot,
    chunking: Chunking,
    embedder: Embedder,
    *,
    room: Path,
    previous: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> BuildReport:
    """Build the index of a corpus, or find that it exists.

    A chunk is embedded as a line with its title, then its text. The version appears in the
    room whole or not at all; directories that builds left behind when they died are removed here
    once they are a day old.

    Args:
        snapshot: the corpus.
        chunking: how documents are cut.
        embedder: the model; asked only for texts that `previous` hasn't.
        room: directory of all index versions.
        previous: directory of a version whose vectors may be taken over where it was embedded by
            the same model; None embeds everything.
        progress: called with (done, total) texts while embedding.

    Raises:
        CorpusError: the snapshot has no documents.
        CorruptArtifact: the previous version's files aren't those that were written.
        Terminal: the new index doesn't find its own passages.
    """
    if not snapshot.documents:
        raise CorpusError(
            f"The corpus snapshot {snapshot.digest[:12]} has no documents, "
            f"only {len(snapshot.problems)} problem(s).",
            next_step="Read problems.json of the snapshot and correct configs/corpus.yaml.",
        )
    name = index_digest(snapshot.digest, chunking, embedder.digest)
    final = room / name
    before = None if previous is None else _Previous(previous)
    diff = compare_digests(before.documents(), snapshot.document_digests) if before else None
    if final.is_dir():
        version = load_version(final)
        return BuildReport(version, final, 0, version.n_chunks, diff)
    remove_leftovers(room, older_than_s=LEFTOVER_AGE_S)
    chunks = [
        chunk
        for document in snapshot.documents
        for chunk in chunk_document(document, chunking, count_tokens=embedder.count_tokens)
    ]
    texts = [f"{chunk.title}\n{chunk.text}" for chunk in chunks]
    digests = [text_digest(text) for text in texts]
    known = before.rows() if before and before.version.embedding_digest == embedder.digest else {}
    missing = {key: text for key, text in zip(digests, texts, strict=True) if key not in known}
    fresh = embedder.encode(list(missing.values()), progress=progress)
    vectors = _gather(
        digests, before.vectors() if known and before else None, known, missing, fresh
    )
    with new_directory(final) as partial:
        _write(partial, name, chunks, digests, vectors)
        _write_documents(partial / DOCUMENTS, snapshot.document_digests)
        version = IndexVersion(
            digest=name,
            corpus_digest=snapshot.digest,
            chunking=chunking,
            embedding=embedder.name,
            embedding_digest=embedder.digest,
            n_documents=len(snapshot.documents),
            n_chunks=len(chunks),
            dimensions=embedder.dimensions,
            files={
                path.relative_to(partial).as_posix(): file_digest(path)
                for path in sorted(partial.rglob("*"))
                if path.is_file()
            },
        )
        save_version(partial, version)
        _validate(partial, vectors)
    return BuildReport(version, final, len(missing), len(chunks) - len(missing), diff)


def remove_leftovers(room: Path, *, older_than_s: float) -> list[Path]:
    """Delete half-built directories that no living build can own any more; return them."""
    limit = time.time() - older_than_s
    dead = []
    for path in room.glob(".*.partial-*"):
        try:
            newest = max(entry.stat().st_mtime for entry in (path, *path.rglob("*")))
        except FileNotFoundError:
            # Its build is alive: it ended this moment.
            continue
        if newest < limit:
            shutil.rmtree(path, ignore_errors=True)
            dead.append(path)
    return dead


class _Previous:
    """A finished version whose bytes were checked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.version = load_version(directory)
        check_files(directory, self.version)

    def documents(self) -> dict[str, Digest]:
        import pyarrow.parquet

        columns = pyarrow.parquet.read_table(self.directory / DOCUMENTS).to_pydict()
        return dict(zip(columns["doc_id"], columns["digest"], strict=True))

    def rows(self) -> dict[Digest, int]:
        """Row of the vector of each text that was embedded."""
        digests = load_chunks(self.directory)["text_digest"]
        return {key: row for row, key in enumerate(digests)}

    def vectors(self) -> Vectors:
        found: Vectors = np.load(self.directory / VECTORS, mmap_mode="r", allow_pickle=False)
        return found


def _gather(
    digests: Sequence[Digest],
    old: Vectors | None,
    old_rows: Mapping[Digest, int],
    missing: Iterable[Digest],
    fresh: Vectors,
) -> Vectors:
    """One vector a chunk, from the previous version or from the model."""
    vectors = np.empty((len(digests), fresh.shape[1]), dtype=np.float32)
    fresh_rows = {key: row for row, key in enumerate(missing)}
    new = [row for row, key in enumerate(digests) if key in fresh_rows]
    vectors[new] = fresh[[fresh_rows[digests[row]] for row in new]]
    if old is not None:
        kept = [row for row, key in enumerate(digests) if key in old_rows]
        vectors[kept] = old[[old_rows[digests[row]] for row in kept]]
    return vectors


def _write(
    directory: Path, name: Digest, chunks: list[Chunk], digests: list[Digest], vectors: Vectors
) -> None:
    import faiss

    save_chunks(directory, chunks, digests, name=name)
    np.save(directory / VECTORS, vectors, allow_pickle=False)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(directory / FAISS))


def _write_documents(path: Path, documents: Mapping[str, Digest]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.table({"doc_id": list(documents), "digest": list(documents.values())})
    pyarrow.parquet.write_table(table, path, compression="zstd")


def _validate(directory: Path, vectors: Vectors) -> None:
    """Read the index back before anybody can see it: a bad one never gets a name."""
    import faiss

    lengths = np.linalg.norm(vectors, axis=1)
    wrong = int(np.sum(~(np.abs(lengths - 1) < _TOLERANCE)))
    if wrong:
        raise Terminal(
            f"{wrong} of {len(vectors)} vectors don't have length 1; the first is of row "
            f"{int(np.argmax(~(np.abs(lengths - 1) < _TOLERANCE)))}.",
            next_step="Check the embedding model; dtype: float32 in configs/models.yaml may help.",
        )
    index = faiss.read_index(str(directory / FAISS))
    rows = load_chunks(directory).num_rows
    if not index.ntotal == rows == len(vectors):
        raise Terminal(
            f"The new index has {index.ntotal} vectors and {rows} chunks; expected {len(vectors)}.",
            next_step=_DISK,
        )
    sample = np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors)), dtype=np.int64)
    scores, _ = index.search(vectors[sample], 1)
    lost = int(np.sum(np.abs(scores[:, 0] - 1) > _TOLERANCE))
    if lost:
        raise Terminal(
            f"{lost} of {len(sample)} passages of the new index aren't found by their own vector.",
            next_step=_DISK,
        )
