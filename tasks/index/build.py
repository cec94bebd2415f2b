"""Corpus snapshot -> index version that costs what changed: new segments and tombstones."""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.config import Chunking, Compaction, IndexSettings
from tasks.corpus.chunk import chunk_document
from tasks.corpus.digests import CorpusDiff, compare_digests
from tasks.corpus.snapshot import Snapshot
from tasks.digest import Digest, file_digest
from tasks.errors import CorpusError
from tasks.index.assemble import build_here, new_segments
from tasks.index.base import Base, split
from tasks.index.cache import EmbeddingCache
from tasks.index.chunks import CHUNKS, ChunkTable, ChunkWriter
from tasks.index.disk import check_room, explained_when_full, free_bytes, needed_bytes
from tasks.index.embed import Embedder
from tasks.index.fill import (
    EmbeddingPlan,
    counted_from,
    fill_cache,
    missing_rows,
    time_and_announce,
)
from tasks.index.manifest import (
    IndexVersion,
    has_segments,
    index_digest,
    load_version,
    save_version,
)
from tasks.index.shards import ShardRunner, embed_in_shards
from tasks.index.version import DOCUMENTS, StoredIndex
from tasks.store import new_directory, scratch_directory

__all__ = ["BuildReport", "EmbeddingPlan", "build_index", "index_digest"]

LEFTOVER_AGE_S = 24 * 3600
"""A half-built directory that nobody wrote to for so long belongs to a build that died."""


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
        written: chunks of the new segments; the others stay where they are.
        merged: segments whose chunks were copied into the new ones.
    """

    version: IndexVersion
    directory: Path
    embedded: int
    reused: int
    diff: CorpusDiff | None
    written: int = 0
    merged: int = 0


def build_index(
    snapshot: Snapshot,
    chunking: Chunking,
    embedder: Embedder,
    *,
    room: Path,
    previous: Path | None,
    index: IndexSettings | None = None,
    compaction: Compaction | None = None,
    runner: ShardRunner | None = None,
    progress: Callable[[int, int], None] | None = None,
    announce: Callable[[EmbeddingPlan], None] | None = None,
    free: Callable[[Path], int] = free_bytes,
    clock: Callable[[], float] = time.monotonic,
) -> BuildReport:
    """Build the index of a corpus, or find that it exists.

    Documents that are new or changed are chunked, chunks whose text was never embedded by this
    model are embedded, and all of them become one new segment, or several where they are very
    many; the chunks of changed and removed documents get a tombstone in the segments that the
    version shares with the previous one. The version appears in the room whole or not at all.
    What was embedded is kept when a build is killed; directories that builds left behind are
    removed here once they are a day old.

    Args:
        snapshot: the corpus; of its texts only those are read that have to be chunked.
        chunking: how documents are cut.
        embedder: the model; asked only for texts that it hasn't embedded before.
        room: directory of all index versions, their segments and the embedding caches.
        previous: directory of the version to start from; its segments are shared where chunking,
            model and index settings are the same. None makes one segment of everything.
        index: how vectors are searched; None: the default.
        compaction: when segments are merged; None: the default.
        runner: where shards of the work are done; None: here, without cutting it.
        progress: called with (done, total) texts while embedding.
        announce: called with what is to be embedded and how long that takes, before it starts.
        free: bytes that can be written below a directory.
        clock: seconds, by which embedding is timed.

    Raises:
        CorpusError: the snapshot has no documents, or no text in them.
        CorruptArtifact: a file of the previous version, or a document, isn't the one that was
            written.
        SetupError: the disk is too small; every earlier version is as it was.
        Terminal: the new segment doesn't find its own passages.
    """
    if not snapshot.n_documents:
        raise CorpusError(
            f"The corpus snapshot {snapshot.digest[:12]} has no documents, "
            f"only {len(snapshot.problems)} problem(s).",
            next_step="Read problems.json of the snapshot and correct configs/corpus.yaml.",
        )
    index = index or IndexSettings()
    compaction = compaction or Compaction()
    name = index_digest(snapshot.digest, chunking, embedder.digest, index)
    final = room / name
    before = None if previous is None else StoredIndex(previous)
    diff = None if before is None else _compare(before, snapshot)
    if final.is_dir():
        version = load_version(final)
        if has_segments(final, version):
            return BuildReport(version, final, 0, version.n_chunks, diff)
        # A damaged segment was deleted, as its error says.
        shutil.rmtree(final)
    remove_leftovers(room, older_than_s=LEFTOVER_AGE_S)
    if before is not None:
        before.touch()
    base = Base.of(before, diff, chunking=chunking, embedding=embedder.digest, index=index)
    other_model = before is not None and before.version.embedding_digest != embedder.digest
    with (
        explained_when_full(room, free),
        new_directory(final) as partial,
        scratch_directory(room, name[:16]) as scratch,
    ):
        with ChunkWriter(scratch / CHUNKS) as writer:
            for document in snapshot.read(base.fresh if base else None):
                for chunk in chunk_document(document, chunking, count_tokens=embedder.count_tokens):
                    writer.add(chunk)
            writer.flush()
            n_new = writer.rows
            parts = base.parts() if base else []
            merged, shared = split(parts, n_new, compaction)
            for old in merged:
                for batch in old.batches():
                    writer.add_batch(batch)
        table = ChunkTable(scratch / CHUNKS)
        keys = table.keys()[:n_new]
        cache = EmbeddingCache(room, embedder.digest, embedder.dimensions)
        rows = missing_rows(keys, cache)
        needed = needed_bytes(
            rows=len(table),
            dimensions=embedder.dimensions,
            embedded=len(rows),
            documents=snapshot.n_documents,
        )
        if len(table) > compaction.max_segment_chunks:
            # Each of several segments copies its chunks.
            needed += (scratch / CHUNKS).stat().st_size
        check_room(room, needed, free)
        plan = EmbeddingPlan(len(rows), len(np.unique(keys)) - len(rows), other_model)
        left, tokens = rows, None
        if announce is not None and len(rows):
            left, tokens = time_and_announce(
                rows, table, keys, cache, embedder, plan=plan, announce=announce, clock=clock
            )
        counted = counted_from(progress, len(rows) - len(left), len(rows))
        if runner is None:
            fill_cache(
                left, table, keys, cache, embedder, progress=counted, clock=clock, tokens=tokens
            )
        else:
            embed_in_shards(
                left,
                scratch / CHUNKS,
                keys,
                cache,
                runner,
                room=room,
                embedder=embedder,
                progress=counted,
                clock=clock,
                tokens=tokens,
            )
        uses = [part.share(partial) for part in shared]
        uses += new_segments(
            scratch,
            room,
            n_new=n_new,
            merged=merged,
            cache=cache,
            embedding=embedder.digest,
            dimensions=embedder.dimensions,
            index=index,
            shared_chunks=sum(part.n_live for part in shared),
            at_most=compaction.max_segment_chunks,
            build=runner.build if runner else build_here,
        )
        snapshot.digests.write(partial / DOCUMENTS)
        version = IndexVersion(
            digest=name,
            corpus_digest=snapshot.digest,
            chunking=chunking,
            embedding=embedder.name,
            embedding_digest=embedder.digest,
            n_documents=snapshot.n_documents,
            n_chunks=sum(use.n_chunks - use.n_deleted for use in uses),
            dimensions=embedder.dimensions,
            index=index,
            segments=tuple(uses),
            files=_digests(partial),
        )
        if not version.n_chunks:
            raise CorpusError(
                f"The {snapshot.n_documents} documents of the corpus snapshot "
                f"{snapshot.digest[:12]} have no text.",
                next_step="Correct the sources in configs/corpus.yaml.",
            )
        save_version(partial, version)
    return BuildReport(
        version,
        final,
        embedded=len(rows),
        reused=version.n_chunks - len(rows),
        diff=diff,
        written=len(table),
        merged=len(merged),
    )


def _compare(before: StoredIndex, snapshot: Snapshot) -> CorpusDiff:
    if before.version.corpus_digest == snapshot.digest:
        return CorpusDiff()
    return compare_digests(before.documents(), snapshot.digests)


def _digests(directory: Path) -> dict[str, Digest]:
    return {
        path.relative_to(directory).as_posix(): file_digest(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def remove_leftovers(room: Path, *, older_than_s: float) -> list[Path]:
    """Delete half-built directories that no living build can own any more; return them."""
    limit = time.time() - older_than_s
    dead: list[Path] = []
    found: list[Path] = []
    for parent in (room, *room.glob("*")):
        # A directory that goes away in the middle is a living build's, which ended this moment.
        with suppress(FileNotFoundError):
            found += parent.glob(".*.partial-*")
    for path in found:
        with suppress(FileNotFoundError):
            newest = max(entry.stat().st_mtime for entry in (path, *path.rglob("*")))
            if newest < limit:
                shutil.rmtree(path, ignore_errors=True)
                dead.append(path)
    return dead
