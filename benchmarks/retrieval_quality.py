"""S1: nDCG@10 on SciFact by meaning, by words and by both, beside published figures.

The collection goes through the product's own index. A document is one chunk, as in the published
runs, and the embedding model reads its first 256 tokens. Embeddings are kept in the state
directory, so that a second run costs seconds.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from benchmarks.beir import Beir, Rankings, ndcg, read_beir
from benchmarks.harness import Result, save, show, versions
from benchmarks.snapshots import store
from tasks.config import Chunking, EmbeddingModel, ModelsSettings, Retrieval, load_settings
from tasks.corpus.document import Document
from tasks.index.build import build_index
from tasks.index.embed import load_embedder
from tasks.index.lexical import K1, B
from tasks.index.postings import words_of
from tasks.index.retrieve import Searcher, open_retriever
from tasks.serve.weights import ensure_embedding
from tasks.store import Home

NAME, DTYPE = "all-minilm-l6-v2", "bfloat16"
DEPTH, WHOLE = 100, 1_000_000
TOLERANCE = 0.01
PUBLISHED = {
    "dense": (0.6451, "MTEB leaderboard, all-MiniLM-L6-v2"),
    "lexical": (0.6789, "Anserini, beir-v1.0.0-scifact.flat, BM25 with k1 0.9, b 0.4"),
}
KINDS = ("dense", "lexical", "hybrid")


def main(directory: Path) -> bool:
    """Run it on SciFact in BEIR layout; whether both published figures were reached."""
    data = read_beir(directory)
    home = Home.find()
    settings = load_settings(Path("configs/models.yaml"), ModelsSettings).local_embedding(NAME)
    model = EmbeddingModel.model_validate(settings.model_dump() | {"dtype": DTYPE})
    weights = ensure_embedding(NAME, settings, room=home.room("models"))
    embedder = load_embedder(NAME, model, weights, room=home.room("models"))
    documents = [
        Document(name, "", text, {"source": "scifact"}) for name, text in data.texts.items()
    ]
    with Progress(transient=True) as bar:
        task = bar.add_task("embed")
        report = build_index(
            store(documents, home.room("benchmark-corpora")),
            Chunking(max_tokens=WHOLE),
            embedder,
            room=home.room("benchmarks"),
            previous=None,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    found = {
        kind: ndcg(
            data,
            _rank(
                data,
                open_retriever(report.directory, embedder, Retrieval(kind=kind, candidates=DEPTH)),
            ),
        )
        for kind in KINDS
    }
    peer = ndcg(data, _bm25s(data))
    result = Result(
        id="S1",
        work=f"SciFact, {len(data.texts):,} abstracts, {len(data.questions)} questions, nDCG@10",
        own=found,
        peers={"bm25s, the same words": peer}
        | {f"{kind}: {source}": value for kind, (value, source) in PUBLISHED.items()},
        limit={},
        ratios={},
        goal=f"dense and by words at most {TOLERANCE} below the published figure",
        met=all(found[kind] >= value - TOLERANCE for kind, (value, _) in PUBLISHED.items()),
        versions=versions("sentence-transformers", "torch", "bm25s", "pystemmer", "ir-measures"),
    )
    rows = [
        {
            "retrieval": kind,
            "nDCG@10": f"{found[kind]:.4f}",
            "published": f"{PUBLISHED[kind][0]:.4f}" if kind in PUBLISHED else "none known",
            "by": PUBLISHED[kind][1] if kind in PUBLISHED else "",
        }
        for kind in KINDS
    ]
    rows.append({"retrieval": "bm25s", "nDCG@10": f"{peer:.4f}", "published": "", "by": ""})
    show(result, rows)
    save(result)
    return result.met


def _rank(data: Beir, searcher: Searcher) -> Rankings:
    found = searcher.search(list(data.questions.values()), top_k=DEPTH)
    return {
        # The rank decides: fused scores lie too close to each other for some evaluators.
        question: [(hit.doc_id, float(DEPTH - hit.rank)) for hit in hits]
        for question, hits in zip(data.questions, found, strict=True)
    }


def _bm25s(data: Beir) -> Rankings:
    """The library's own index of the same words, as a check of ours."""
    import bm25s

    names: Sequence[str] = list(data.texts)
    index = bm25s.BM25(method="lucene", k1=K1, b=B)
    index.index(words_of(list(data.texts.values())), show_progress=False)
    words = words_of(list(data.questions.values()))
    rows, scores = index.retrieve(words, k=DEPTH, show_progress=False, n_threads=1)
    return {
        question: [(names[int(row)], float(score)) for row, score in zip(*line, strict=True)]
        for question, line in zip(data.questions, zip(rows, scores, strict=True), strict=True)
    }
