"""LangChain's side of P1 and P2: one `index()` in a process of its own, over stored state.

    python -m benchmarks.reindex_langchain DIRECTORY incremental|full|scoped_full [check]

Its record manager is in SQLite, its vectors are in its FAISS store. Files are written again only
where `index()` changed something, which its documentation leaves to the caller.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.reindex_checks import compare
from benchmarks.reindex_files import (
    DIMENSIONS,
    MAX_WORDS,
    OVERLAP_WORDS,
    CountingEmbedder,
    count_words,
    read_files,
)


def main(home: Path, cleanup: str) -> None:
    """Index once; prints what it cost."""
    from langchain_classic.indexes import SQLRecordManager
    from langchain_core.indexing import index

    state = home / f"langchain-{cleanup}"
    is_first = not state.exists()
    state.mkdir(exist_ok=True)
    records = SQLRecordManager("docs", db_url=f"sqlite:///{state / 'records.sqlite'}")
    if is_first:
        records.create_schema()
    embedder = CountingEmbedder()
    store = _open(state, embedder)
    done = index(
        _chunks(home / "docs"),
        records,
        store,
        cleanup=cleanup,  # type: ignore[arg-type]
        source_id_key="source",
        key_encoder="sha256",
    )
    if done["num_added"] or done["num_updated"] or done["num_deleted"]:
        store.save_local(str(state))
    print(json.dumps({"embedded": len(embedder.texts), "chunks": len(store.docstore._dict)}))  # noqa: SLF001
    (home / "embedded.json").write_text(json.dumps(embedder.texts))


def check(home: Path, cleanup: str) -> None:
    """Compare what is stored with what the documents say now; prints it."""
    store = _open(home / f"langchain-{cleanup}", CountingEmbedder())
    documents = store.docstore._dict.values()  # noqa: SLF001
    stored = [(item.metadata["source"], item.page_content) for item in documents]
    if store.index.ntotal != len(stored):
        raise RuntimeError(f"{store.index.ntotal} vectors and {len(stored)} documents")
    wanted = [(item.metadata["source"], item.page_content) for item in _chunks(home / "docs")]
    # It stores one of several equal chunks of a document, on purpose.
    print(json.dumps(compare(list(dict.fromkeys(wanted)), stored)))
    (home / "wanted.json").write_text(json.dumps([text for _, text in wanted]))


def _chunks(folder: Path) -> Iterator[Any]:
    from langchain_core.documents import Document
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=MAX_WORDS, chunk_overlap=OVERLAP_WORDS, length_function=count_words
    )
    for name, text in read_files(folder):
        for part in splitter.split_text(text):
            yield Document(part, metadata={"source": name})


def _open(state: Path, embedder: CountingEmbedder) -> Any:
    import faiss as untyped
    from langchain_core.embeddings import Embeddings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_community.docstore.in_memory import InMemoryDocstore
        from langchain_community.vectorstores import FAISS

    faiss: Any = untyped

    class Model(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = embedder.encode(texts).tolist()
            return vectors

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    if (state / "index.faiss").is_file():
        return FAISS.load_local(str(state), Model(), allow_dangerous_deserialization=True)
    return FAISS(Model(), faiss.IndexFlatL2(DIMENSIONS), InMemoryDocstore(), {})


if __name__ == "__main__":
    (check if sys.argv[3:] else main)(Path(sys.argv[1]), sys.argv[2])
