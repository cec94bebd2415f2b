"""Whatever happened to a corpus, its index finds what one that is built from scratch finds."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.config import Chunking
from tasks.corpus.chunk import chunk_document
from tasks.corpus.document import Document
from tasks.index.build import build_index
from tasks.index.chunks import embedded_text
from tasks.index.search import open_index
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder

CHUNKING = Chunking(max_tokens=6, overlap_tokens=2)
QUERIES = ["apples", "cold bread keeps", "who ate the cheese?", "nothing of that"]
NAMES = st.sampled_from("abcdefg")
# Few words and few texts: equal passages, and equal scores of others, are frequent.
SENTENCES = st.lists(
    st.sampled_from(["Apples keep.", "Cold bread keeps well.", "Mice ate it.", "Eat cheese."]),
    min_size=1,
    max_size=5,
).map(" ".join)
CHANGES = st.one_of(
    st.tuples(st.just("write"), NAMES, SENTENCES),
    st.tuples(st.just("delete"), NAMES, st.just("")),
    st.tuples(st.just("move"), NAMES, NAMES),
    st.tuples(st.just("copy"), NAMES, NAMES),
)


def apply(texts: dict[str, str], change: tuple[str, str, str]) -> dict[str, str]:
    kind, name, value = change
    texts = dict(texts)
    if kind == "write":
        texts[name] = value
    elif name in texts and kind == "delete":
        del texts[name]
    elif name in texts:
        texts[value] = texts.pop(name) if kind == "move" else texts[name]
    # A corpus without documents has no index.
    return texts or {"a": "Apples keep."}


def documents(texts: dict[str, str]) -> list[Document]:
    return [Document(name, "Food", text, {"source": "s"}) for name, text in texts.items()]


def compared_with_every_chunk(texts: dict[str, str], top_k: int) -> list[list[str]]:
    """Chunk ids for each query, without any index."""
    embedder = HashingEmbedder()
    chunks = [
        chunk
        for document in documents(texts)
        for chunk in chunk_document(document, CHUNKING, count_tokens=embedder.count_tokens)
    ]
    vectors = embedder.encode([embedded_text(chunk.title, chunk.text) for chunk in chunks])
    found = []
    for query in embedder.encode(QUERIES).astype(np.float64):
        scores = [float(np.sum(vector * query)) for vector in vectors.astype(np.float64)]
        ids = [chunk.chunk_id for chunk in chunks]
        ordered = sorted(zip(scores, ids, strict=True), key=lambda pair: (-pair[0], pair[1]))
        found.append([name for _, name in ordered[:top_k]])
    return found


@settings(max_examples=12, deadline=None)
@given(st.lists(st.lists(CHANGES, min_size=1, max_size=3), min_size=1, max_size=5))
def test_any_sequence_of_changes_finds_the_same_as_an_index_built_from_scratch(
    nights: list[list[tuple[str, str, str]]],
):
    with tempfile.TemporaryDirectory() as name:
        room, texts, previous = Path(name) / "room", {"a": "Apples keep."}, None
        embedder = HashingEmbedder()
        for night, changes in enumerate(nights):
            for change in changes:
                texts = apply(texts, change)
            snapshot = MemorySnapshot(documents(texts))
            report = build_index(snapshot, CHUNKING, embedder, room=room, previous=previous)
            previous = report.directory
            fresh = build_index(
                snapshot,
                CHUNKING,
                HashingEmbedder(),
                room=Path(name) / f"fresh {night}",
                previous=None,
            )
            grown, scratch = (
                open_index(directory, HashingEmbedder())
                for directory in (report.directory, fresh.directory)
            )
            assert grown.version.n_chunks == scratch.version.n_chunks
            for top_k in (1, 3, 100):
                found = grown.search(QUERIES, top_k=top_k)
                assert found == scratch.search(QUERIES, top_k=top_k)
                ids = [[hit.chunk_id for hit in hits] for hits in found]
                assert ids == compared_with_every_chunk(texts, top_k)
        # Each text went through the model once, whatever became of it.
        assert len(embedder.texts) == len(set(embedder.texts))
