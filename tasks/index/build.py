"""Corpus snapshot -> index version that costs what changed: one new segment and tombstones."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.config import Chunking, IndexKind
from tasks.corpus.chunk import chunk_document
from tasks.corpus.snapshot import CorpusDiff, CorpusSnapshot, compare_digests
from tasks.digest import Digest, file_digest
from tasks.errors import CorpusError
from tasks.index.cache import EmbeddingCache
from tasks.index.chunks import CHUNKS, ChunkTable, ChunkWriter, Keys, embedded_text
from tasks.index.embed import Embedder
from tasks.index.segment import (
    SEGMENTS,
    VECTORS,
    Segment,
    SegmentManifest,
    blocks,
    load_segment,
    write_manifest,
    writing_vectors,
)
from tasks.index.validation import check_lengths, check_segment
from tasks.index.version import (
    DOCUMENTS,
    MANIFEST,
    IndexVersion,
    SegmentUse,
    StoredIndex,
    has_segments,
    index_digest,
    load_version,
    write_documents,
    write_tombstones,
)
from tasks.store import new_directory, publish, scratch_directory, write_json

__all__ = ["BuildReport", "build_index", "index_digest"]

LEFTOVER_AGE_S = 24 * 3600
"""A half-built directory that nobody wrote to for so long belongs to a build that died."""

EMBED_BATCH = 1024
"""Texts that are embedded before they are kept: what a killed build loses."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build gave and what it cost.

    Attributes:
        version: the manifest.
        directory: `room/<digest>`.
        embedded: texts that went through the model.
        reused: chunks that took their vector from an earlier build or from an equal text; all of
            them when the version was there already.
        diff: documents that differ from the previous version's; None without one.
        written: chunks of the new segment; the others stay where they are.
    """

    version: IndexVersion
    directory: Path
    embedded: int
    reused: int
    diff: CorpusDiff | None
    written: int = 0


def build_index(
    snapshot: CorpusSnapshot,
    chunking: Chunking,
    embedder: Embedder,
    *,
    room: Path,
    previous: Path | None,
    kind: IndexKind = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> BuildReport:
    """Build the index of a corpus, or find that it exists.

    Documents that are new or changed are chunked, chunks whose text was never embedded by this
    model are embedded, and all of them become one new segment; the chunks of changed and removed
    documents get a tombstone in the segments that the version shares with the previous one. The
    version appears in the room whole or not at all. What was embedded is kept when a build is
    killed; directories that builds left behind are removed here once they are a day old.

    Args:
        snapshot: the corpus.
        chunking: how documents are cut.
        embedder: the model; asked only for texts that it hasn't embedded before.
        room: directory of all index versions, their segments and the embedding caches.
        previous: directory of the version to start from; its segments are shared where chunking
            and model are the same. None makes one segment of everything.
        kind: how vectors are searched.
        progress: called with (done, total) texts while embedding.

    Raises:
        CorpusError: the snapshot has no documents, or no text in them.
        CorruptArtifact: a file of the previous version isn't the one that was written.
        Terminal: the new segment doesn't find its own passages.
    """
    if not snapshot.documents:
        raise CorpusError(
            f"The corpus snapshot {snapshot.digest[:12]} has no documents, "
            f"only {len(snapshot.problems)} problem(s).",
            next_step="Read problems.json of the snapshot and correct configs/corpus.yaml.",
        )
    name = index_digest(snapshot.digest, chunking, embedder.digest, kind)
    final = room / name
    documents = snapshot.document_digests
    before = None if previous is None else StoredIndex(previous)
    diff = compare_digests(before.documents(), documents) if before else None
    if final.is_dir():
        version = load_version(final)
        if has_segments(final, version):
            return BuildReport(version, final, 0, version.n_chunks, diff)
        # A damaged segment was deleted, as its error says.
        shutil.rmtree(final)
    remove_leftovers(room, older_than_s=LEFTOVER_AGE_S)
    if before is not None:
        before.touch()
    base = _Base.of(before, diff, chunking, embedder.digest)
    fresh = documents.keys() if base is None else base.fresh
    cache = EmbeddingCache(room, embedder.digest, embedder.dimensions)
    with new_directory(final) as partial:
        uses = list(_share(base, partial)) if base else []
        with scratch_directory(room, name[:16]) as scratch:
            with ChunkWriter(scratch / CHUNKS) as writer:
                for document in snapshot.documents:
                    if document.doc_id in fresh:
                        for chunk in chunk_document(
                            document, chunking, count_tokens=embedder.count_tokens
                        ):
                            writer.add(chunk)
            table = ChunkTable(scratch / CHUNKS)
            keys = table.keys()
            embedded = _embed(table, keys, cache, embedder, progress)
            new = _write_segment(scratch, room, keys, cache, embedder) if len(keys) else None
        if new is not None:
            uses.append(SegmentUse(digest=new.digest, n_chunks=len(new)))
        write_documents(partial / DOCUMENTS, documents)
        version = IndexVersion(
            digest=name,
            corpus_digest=snapshot.digest,
            chunking=chunking,
            embedding=embedder.name,
            embedding_digest=embedder.digest,
            n_documents=len(documents),
            n_chunks=sum(use.n_chunks - use.n_deleted for use in uses),
            dimensions=embedder.dimensions,
            kind=kind,
            segments=tuple(uses),
            files={
                path.relative_to(partial).as_posix(): file_digest(path)
                for path in sorted(partial.rglob("*"))
                if path.is_file()
            },
        )
        if not version.n_chunks:
            raise CorpusError(
                f"The {len(documents)} documents of the corpus snapshot {snapshot.digest[:12]} "
                "have no text.",
                next_step="Correct the sources in configs/corpus.yaml.",
            )
        write_json(partial / MANIFEST, version.model_dump(mode="json"))
    return BuildReport(
        version, final, embedded, version.n_chunks - embedded, diff, len(new) if new else 0
    )


def remove_leftovers(room: Path, *, older_than_s: float) -> list[Path]:
    """Delete half-built directories that no living build can own any more; return them."""
    limit = time.time() - older_than_s
    dead = []
    for path in (*room.glob(".*.partial-*"), *room.glob("*/.*.partial-*")):
        try:
            newest = max(entry.stat().st_mtime for entry in (path, *path.rglob("*")))
        except FileNotFoundError:
            # Its build is alive: it ended this moment.
            continue
        if newest < limit:
            shutil.rmtree(path, ignore_errors=True)
            dead.append(path)
    return dead


@dataclass(frozen=True, slots=True)
class _Base:
    """The version whose segments a new one shares, and what it has to do to them."""

    stored: StoredIndex
    fresh: frozenset[str]
    """Documents to chunk."""
    stale: tuple[str, ...]
    """Documents whose chunks are deleted."""

    @classmethod
    def of(
        cls,
        stored: StoredIndex | None,
        diff: CorpusDiff | None,
        chunking: Chunking,
        embedding: Digest,
    ) -> "_Base | None":
        if stored is None or diff is None:
            return None
        version = stored.version
        if (version.chunking, version.embedding_digest) != (chunking, embedding):
            return None
        return cls(stored, frozenset(diff.added + diff.changed), diff.changed + diff.removed)


def _share(base: _Base, directory: Path) -> Iterator[SegmentUse]:
    """Segments of the previous version without the chunks of stale documents."""
    for segment, live in zip(base.stored.segments, base.stored.live, strict=True):
        left = live
        if base.stale:
            left = live & ~segment.chunks.rows_of(base.stale)
        deleted = int(len(left) - left.sum())
        if deleted == len(left):
            continue
        if deleted:
            write_tombstones(directory, segment.digest, left)
        yield SegmentUse(digest=segment.digest, n_chunks=len(segment), n_deleted=deleted)


def _embed(
    table: ChunkTable,
    keys: Keys,
    cache: EmbeddingCache,
    embedder: Embedder,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Embed each text that the cache lacks once; return how many that were."""
    rows = _first_rows(keys)
    rows = rows[~cache.has(keys[rows])]
    for part in blocks(len(rows), EMBED_BATCH):
        wanted = rows[part]
        texts = [
            embedded_text(row["title"], row["text"])
            for row in table.rows(wanted.tolist(), ("title", "text"))
        ]
        vectors = embedder.encode(texts)
        check_lengths(vectors)
        cache.put(keys[wanted], vectors)
        if progress is not None:
            progress(part.stop, len(rows))
    return len(rows)


def _first_rows(keys: Keys) -> NDArray[np.int64]:
    """The first row of each text, in order."""
    _, rows = np.unique(keys, return_index=True)
    return np.sort(rows)


def _write_segment(
    scratch: Path, room: Path, keys: Keys, cache: EmbeddingCache, embedder: Embedder
) -> Segment:
    """Add vectors to the chunks in a scratch directory and give it its name."""
    with writing_vectors(scratch / VECTORS, embedder.dimensions) as writer:
        for part in blocks(len(keys)):
            writer.add(cache.take(keys[part]))
    manifest = SegmentManifest.describe(
        scratch,
        embedding_digest=embedder.digest,
        n_chunks=len(keys),
        dimensions=embedder.dimensions,
        kind="flat",
    )
    write_manifest(scratch, manifest)
    check_segment(Segment(scratch, manifest))
    (room / SEGMENTS).mkdir(exist_ok=True)
    publish(scratch, room / SEGMENTS / manifest.digest)
    return load_segment(room, manifest.digest)
