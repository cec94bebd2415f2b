"""LlamaIndex's side of P1 and P2: one `IngestionPipeline.run` in a process of its own.

    python -m benchmarks.reindex_llamaindex DIRECTORY upserts|upserts_and_delete|cache [check]

Document store, cache and vector store are those of llama-index-core, stored as its documentation
does. They are written again only where something was embedded. `cache` is the pipeline without a
document store, which is what its cache can do alone; it has no vector store, as every run would
add everything once more.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.reindex_checks import compare
from benchmarks.reindex_files import MAX_WORDS, OVERLAP_WORDS, CountingEmbedder, read_files

_VECTORS = "vector_store.json"


def main(home: Path, strategy: str) -> None:
    """Ingest once; prints what it cost."""
    from llama_index.core import Document
    from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
    from llama_index.core.storage.docstore import SimpleDocumentStore
    from llama_index.core.vector_stores.simple import SimpleVectorStore

    state = home / f"llamaindex-{strategy}"
    embedder = CountingEmbedder()
    pipeline = IngestionPipeline(transformations=[_splitter(), _model(embedder)])
    if strategy != "cache":
        pipeline.docstore = SimpleDocumentStore()
        pipeline.docstore_strategy = DocstoreStrategy(strategy)
        vectors = SimpleVectorStore()
        if state.is_dir():
            vectors = SimpleVectorStore.from_persist_path(str(state / _VECTORS))
        pipeline.vector_store = vectors
    if state.is_dir():
        pipeline.load(str(state))
    documents = [Document(text=text, id_=name) for name, text in read_files(home / "docs")]
    nodes = pipeline.run(documents=documents)
    if embedder.texts:
        pipeline.persist(str(state))
        if strategy != "cache":
            vectors.persist(str(state / _VECTORS))
    chunks = len(nodes) if strategy == "cache" else len(vectors.data.embedding_dict)
    print(json.dumps({"embedded": len(embedder.texts), "chunks": chunks}))
    (home / "embedded.json").write_text(json.dumps(embedder.texts))


def check(home: Path, strategy: str) -> None:
    """Compare what is stored with what the documents say now; prints it.

    Its vector store keeps no text, so chunks are compared by their vectors, which are hashes.
    """
    from llama_index.core import Document
    from llama_index.core.vector_stores.simple import SimpleVectorStore

    documents = [Document(text=text, id_=name) for name, text in read_files(home / "docs")]
    nodes = _splitter()(documents)
    texts = [node.get_content() for node in nodes]
    rows = CountingEmbedder().encode(texts).tolist()
    wanted = [(node.ref_doc_id, _key(row)) for node, row in zip(nodes, rows, strict=True)]
    stored = wanted
    if strategy != "cache":
        data = SimpleVectorStore.from_persist_path(
            str(home / f"llamaindex-{strategy}" / _VECTORS)
        ).data
        stored = [
            (data.text_id_to_ref_doc_id[name], _key(row))
            for name, row in data.embedding_dict.items()
        ]
    print(json.dumps(compare(wanted, stored)))
    (home / "wanted.json").write_text(json.dumps(texts))


def _key(vector: list[float]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in vector)


def _splitter() -> Any:
    from llama_index.core.node_parser import SentenceSplitter

    return SentenceSplitter(chunk_size=MAX_WORDS, chunk_overlap=OVERLAP_WORDS, tokenizer=str.split)


def _model(embedder: CountingEmbedder) -> Any:
    from llama_index.core.embeddings import BaseEmbedding

    class Model(BaseEmbedding):  # type: ignore[misc]
        def _get_text_embedding(self, text: str) -> list[float]:
            return self._get_text_embeddings([text])[0]

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = embedder.encode(texts).tolist()
            return vectors

        def _get_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_query_embedding(query)

    return Model(model_name="counting", embed_batch_size=1024)


if __name__ == "__main__":
    (check if sys.argv[3:] else main)(Path(sys.argv[1]), sys.argv[2])
