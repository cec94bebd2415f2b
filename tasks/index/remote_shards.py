"""Shards of texts -> their vectors, between machines that share a store and no disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tasks.config import Settings
from tasks.digest import Digest, digest, file_digest
from tasks.index.cache import EMBEDDINGS, EmbeddingCache
from tasks.index.chunks import CHUNKS, ChunkWriter, Keys
from tasks.index.embed import Embedder
from tasks.index.remote import Remote, adopt_part, put_files
from tasks.index.shards import TextShard, batches, check_model, embed_lacking
from tasks.store import scratch_directory

TEXTS = "texts"
"""Directory of the store with one directory a shard: the texts that a worker embeds."""

_ROWS = "rows.npy"
_SHARD_VERSION = 1


class StoredShard(Settings):
    """A shard whose texts lie in a store; all that a worker is told."""

    key: str
    """Of its directory."""
    file: Digest
    """SHA-256 of the texts."""
    texts: int
    embedding: Digest
    dimensions: int


def send_shard(shard: TextShard, remote: Remote) -> StoredShard:
    """Copy the texts of a shard into the store; they are named by what they are."""
    table, rows = shard.read()
    with scratch_directory(shard.room, "shard") as scratch:
        with ChunkWriter(scratch / CHUNKS) as writer:
            for batch in table.select(rows):
                writer.add_batch(batch)
        found = file_digest(scratch / CHUNKS)
        key = f"{TEXTS}/{digest('text-shard', _SHARD_VERSION, found)}"
        put_files(scratch, key, remote)
    return StoredShard(
        key=key,
        file=found,
        texts=len(rows),
        embedding=shard.embedding,
        dimensions=shard.dimensions,
    )


def embed_stored_shard(shard: StoredShard, room: Path, remote: Remote, embedder: Embedder) -> int:
    """Embed what neither the store nor this machine has, and put each batch into the store.

    Args:
        shard: which texts.
        room: directory of this machine, in which its embedding cache is.
        remote: the store.
        embedder: the model of the build.

    Returns:
        How many texts went through the model.

    Raises:
        Terminal: the model is another one, or gave a vector that hasn't length 1.
        CorruptArtifact: the texts aren't those that were sent.
    """
    check_model(shard.embedding, embedder)
    cache = EmbeddingCache(room, shard.embedding, shard.dimensions)
    embedded = 0
    with _received(shard, room, remote) as local:
        for _, keys, texts in batches(local):
            key = _part(shard.embedding, keys)
            if remote.has(key):
                continue
            embedded += embed_lacking(texts, keys, cache, embedder)
            with scratch_directory(cache.directory, "shard") as part:
                cache.export(keys, part)
                put_files(part, key, remote)
    return embedded


def collect_shard(shard: TextShard, remote: Remote) -> None:
    """Take the vectors of a shard from the store into the embedding cache.

    Raises:
        RegistryError: a batch isn't there.
        CorruptArtifact: one isn't what its digests say.
    """
    cache = shard.cache()
    for _, keys, _ in batches(shard):
        if not cache.has(keys).all():
            adopt_part(_part(shard.embedding, keys), cache, remote)


@contextmanager
def _received(shard: StoredShard, room: Path, remote: Remote) -> Iterator[TextShard]:
    with scratch_directory(room, "texts") as scratch:
        remote.get(shard.key, scratch, {CHUNKS: shard.file})
        np.save(scratch / _ROWS, np.arange(shard.texts, dtype=np.int64), allow_pickle=False)
        yield TextShard(
            room=room,
            table=scratch / CHUNKS,
            rows=scratch / _ROWS,
            start=0,
            stop=shard.texts,
            embedding=shard.embedding,
            dimensions=shard.dimensions,
        )


def _part(embedding: Digest, keys: Keys) -> str:
    return f"{EMBEDDINGS}/{embedding}/{EmbeddingCache.name_of(np.sort(keys))}"
