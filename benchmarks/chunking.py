"""C1: content-defined passages beside fixed windows and beside filling up sentence by sentence.

Two data sets: `chunking_eval` (five long documents, questions with gold character spans) and
`scifact` (BEIR: abstracts, claims, qrels), with the project's embedding model. Passages are found
by cosine; those of one question are taken until their tokens reach a budget, the same for every way
to cut, so that neither few long nor many short passages win by their length. Recall is the part of
the gold characters that is covered, precision the part of the covered characters that is gold.
Also: how many passages change when a sentence is inserted.
"""

import json
import random
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ROOT, Result, save, show, versions
from tasks.config import Chunking, load_project
from tasks.corpus.chunk import Chunk, chunk_document
from tasks.corpus.document import Document, normalise
from tasks.index.embed import SentenceEmbedder, Vectors, load_embedder
from tasks.serve.weights import ensure_embedding
from tasks.store import Home

SIZES = (Chunking(max_tokens=200, overlap_tokens=20),)
BUDGETS = (200, 400, 800)
LONGEST = 60_000
"""Characters that are read of each long document; questions about the rest are left out."""
ABSTRACTS, CLAIMS = 300, 150
"""Every relevant abstract and, drawn by the seed, others; the first claims of the test set."""
SEED = 0
EDITS = 20

NDCG = "scifact_ndcg10"

Values = NDArray[np.float64]
"""One value a question."""
Cut = Callable[[Document, Chunking, SentenceEmbedder], list[Chunk]]


@dataclass(frozen=True)
class Question:
    """One question and the character ranges that answer it, by document."""

    text: str
    doc_id: str
    spans: tuple[tuple[int, int], ...]


def main(data: Path) -> bool:
    """Run the benchmark; whether its goal was met.

    Args:
        data: directory that holds `chunking_eval/` and `scifact/`.
    """
    embedder = _embedder()
    documents, questions = _chunking_eval(data / "chunking_eval")
    abstracts, claims, qrels = _scifact(data / "scifact")
    figures: dict[str, dict[str, Any]] = {}
    values: dict[str, dict[str, Values]] = {}
    for settings in SIZES:
        for name, cut in WAYS.items():
            label = f"{name}, {settings.max_tokens}"
            chunks = [chunk for doc in documents for chunk in cut(doc, settings, embedder)]
            figures[label] = {
                "tokens_a_passage": statistics.mean(
                    embedder.count_tokens(chunk.text) for chunk in chunks
                ),
                "changed": _changed(documents, cut, settings, embedder),
            }
            values[label] = _span_scores(chunks, questions, embedder)
            values[label][NDCG] = _ndcg(abstracts, claims, qrels, cut, settings, embedder)
            figures[label] |= {measure: float(row.mean()) for measure, row in values[label].items()}
            print(label, figures[label], flush=True)
    differences = {
        f"{measure}, {settings.max_tokens}": _interval(row - windows[measure])
        for settings in SIZES
        for windows in [values[f"{WINDOWS}, {settings.max_tokens}"]]
        for measure, row in values[f"{OWN}, {settings.max_tokens}"].items()
    }
    result = Result(
        id="C1",
        work=f"passages for {len(questions)} questions on {len(documents)} documents "
        f"and {len(claims)} claims on {len(abstracts)} abstracts",
        own={label: row for label, row in figures.items() if label.startswith(OWN)}
        | {"minus windows, mean and 95 % interval": differences},
        peers={label: row for label, row in figures.items() if not label.startswith(OWN)},
        limit={},
        ratios=_ratios(figures),
        goal="no span recall, precision or nDCG@10 below fixed windows' by more than chance",
        met=all(high >= 0 for _, _, high in differences.values()),
        versions=versions("numpy", "sentence-transformers", "tokenizers", "torch"),
    )
    show(result, [_row(label, row) for label, row in figures.items()])
    for measure, (mean, low, high) in differences.items():
        print(f"{measure}: own minus windows {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    save(result)
    return result.met


OWN = "ratchet"
WINDOWS = "fixed windows"


def _own(document: Document, settings: Chunking, embedder: SentenceEmbedder) -> list[Chunk]:
    return chunk_document(document, settings, count_tokens=embedder.count_tokens)


def _windows(document: Document, settings: Chunking, embedder: SentenceEmbedder) -> list[Chunk]:
    """So many words' tokens after each other, as most splitters do without a separator."""
    words = [match.span() for match in re.finditer(r"\S+", document.text)]
    tokens = [embedder.count_tokens(document.text[start:end]) for start, end in words]
    chunks, first = [], 0
    while first < len(words):
        last, total = first, 0
        while last < len(words) and (last == first or total + tokens[last] <= settings.max_tokens):
            total += tokens[last]
            last += 1
        chunks.append(_chunk(document, words[first][0], words[last - 1][1]))
        if last == len(words):
            break
        back, overlap = last, 0
        while back > first + 1 and overlap + tokens[back - 1] <= settings.overlap_tokens:
            back -= 1
            overlap += tokens[back]
        first = back
    return chunks


def _sentences(document: Document, settings: Chunking, embedder: SentenceEmbedder) -> list[Chunk]:
    """Whole sentences until no more fit: what an edit moves from its place to the end."""
    ends = [match.end() for match in re.finditer(r"(?<=[.!?])\s+|\n\n+", document.text)]
    starts = [0, *ends]
    parts = list(zip(starts, [*ends, len(document.text)], strict=True))
    parts = [part for part in parts if document.text[slice(*part)].strip()]
    tokens = [embedder.count_tokens(document.text[slice(*part)]) for part in parts]
    chunks, first = [], 0
    while first < len(parts):
        last, total = first, 0
        while last < len(parts) and (last == first or total + tokens[last] <= settings.max_tokens):
            total += tokens[last]
            last += 1
        chunks.append(_chunk(document, parts[first][0], parts[last - 1][1]))
        if last == len(parts):
            break
        first = last - (last > first + 1 and tokens[last - 1] <= settings.overlap_tokens)
    return chunks


def _chunk(document: Document, start: int, end: int) -> Chunk:
    text = document.text[start:end].rstrip()
    end = start + len(text)
    return Chunk(f"{document.doc_id}:{start}-{end}", document.doc_id, start, end, text, "")


WAYS: Mapping[str, Cut] = {WINDOWS: _windows, "sentences filled up": _sentences, OWN: _own}


def _embedder() -> SentenceEmbedder:
    project, home = load_project(ROOT), Home.find(ROOT)
    name = project.release.embedding
    # Three times as fast on processors that have it, and the same for every way to cut.
    model = project.models.local_embedding(name).model_copy(update={"dtype": "bfloat16"})
    directory = ensure_embedding(name, model, room=home.room("models"), progress=print)
    return load_embedder(name, model, directory, room=home.room("models"))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _chunking_eval(directory: Path) -> tuple[list[Document], list[Question]]:
    documents, offsets = {}, {}
    for row in _rows(directory / "corpus.jsonl"):
        text = row["text"][:LONGEST]
        documents[row["_id"]] = Document(row["_id"], row["_id"], text, {"source": "chunking_eval"})
        offsets[row["_id"]] = len(text)
    questions = [
        Question(
            row["question"],
            row["corpus_id"],
            tuple((span["start_index"], span["end_index"]) for span in row["references"]),
        )
        for row in _rows(directory / "queries.jsonl")
    ]
    kept = [q for q in questions if all(end <= offsets[q.doc_id] for _, end in q.spans)]
    return list(documents.values()), kept


def _scifact(directory: Path) -> tuple[list[Document], dict[str, str], dict[str, dict[str, int]]]:
    qrels: dict[str, dict[str, int]] = {}
    lines = (directory / "qrels" / "test.tsv").read_text().splitlines()[1:]
    for line in lines:
        query, document, score = line.split("\t")
        qrels.setdefault(query, {})[document] = int(score)
    claims = {
        row["_id"]: row["text"] for row in _rows(directory / "queries.jsonl") if row["_id"] in qrels
    }
    claims = dict(list(claims.items())[:CLAIMS])
    relevant = {document for query in claims for document in qrels[query]}
    rows = list(_rows(directory / "corpus.jsonl"))
    others = [row for row in rows if row["_id"] not in relevant]
    random.Random(SEED).shuffle(others)  # noqa: S311
    chosen = [row for row in rows if row["_id"] in relevant]
    chosen += others[: max(0, ABSTRACTS - len(chosen))]
    documents = [
        Document(row["_id"], row.get("title") or "", normalise(row["text"]), {"source": "scifact"})
        for row in chosen
    ]
    return documents, claims, qrels


def _embed(chunks: Sequence[Chunk], embedder: SentenceEmbedder) -> Vectors:
    return embedder.encode([f"{chunk.title}\n{chunk.text}".strip() for chunk in chunks])


def _span_scores(
    chunks: Sequence[Chunk], questions: Sequence[Question], embedder: SentenceEmbedder
) -> dict[str, Values]:
    vectors = _embed([_untitled(chunk) for chunk in chunks], embedder)
    asked = embedder.encode([question.text for question in questions])
    order = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")
    tokens = [embedder.count_tokens(chunk.text) for chunk in chunks]
    scores: dict[str, Values] = {}
    for budget in BUDGETS:
        recalls, precisions = [], []
        for question, ranked in zip(questions, order, strict=True):
            covered = _covered(chunks, tokens, ranked.tolist(), budget)
            gold = {
                (question.doc_id, i) for start, end in question.spans for i in range(start, end)
            }
            recalls.append(len(gold & covered) / len(gold))
            precisions.append(len(gold & covered) / len(covered))
        scores[f"recall@{budget}"] = np.array(recalls)
        scores[f"precision@{budget}"] = np.array(precisions)
    return scores


def _covered(
    chunks: Sequence[Chunk], tokens: Sequence[int], ranked: Sequence[int], budget: int
) -> set[tuple[str, int]]:
    """Characters of the best passages; the last one is cut where the budget ends."""
    covered: set[tuple[str, int]] = set()
    left = float(budget)
    for row in ranked:
        chunk = chunks[row]
        share = min(1.0, left / tokens[row])
        end = chunk.start + round((chunk.end - chunk.start) * share)
        covered |= {(chunk.doc_id, position) for position in range(chunk.start, end)}
        left -= tokens[row]
        if left <= 0:
            break
    return covered


def _untitled(chunk: Chunk) -> Chunk:
    """The data set has no titles: file names would only blur the comparison."""
    return Chunk(chunk.chunk_id, chunk.doc_id, chunk.start, chunk.end, chunk.text, "")


def _changed(
    documents: Sequence[Document], cut: Cut, settings: Chunking, embedder: SentenceEmbedder
) -> dict[str, float]:
    """New passage texts after one sentence was inserted at a random sentence end."""
    generator = random.Random(SEED)  # noqa: S311
    counts = []
    for document in documents:
        before = {chunk.text for chunk in cut(document, settings, embedder)}
        ends = [match.end() for match in re.finditer(r"[.!?]\s+", document.text)]
        for number in range(EDITS // len(documents)):
            place = generator.choice(ends)
            new = f"This is sentence {number}, and new. "
            text = document.text[:place] + new + document.text[place:]
            edited = Document(document.doc_id, document.title, text, document.metadata)
            counts.append(sum(c.text not in before for c in cut(edited, settings, embedder)))
    return {"mean": statistics.mean(counts), "most": max(counts)}


def _ndcg(
    documents: Sequence[Document],
    claims: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    cut: Cut,
    settings: Chunking,
    embedder: SentenceEmbedder,
) -> Values:
    import ir_measures
    from ir_measures import nDCG

    titles = {document.doc_id: document.title for document in documents}
    chunks = [chunk for document in documents for chunk in cut(document, settings, embedder)]
    texts = [f"{titles[chunk.doc_id]}\n{chunk.text}" for chunk in chunks]
    scores = embedder.encode(list(claims.values())) @ embedder.encode(texts).T
    run: dict[str, dict[str, float]] = {}
    for query, row in zip(claims, scores, strict=True):
        best: dict[str, float] = {}
        # A document is as good as its best passage.
        for place in np.argsort(-row)[:100].tolist():
            best.setdefault(chunks[place].doc_id, float(row[place]))
        run[query] = best
    wanted = {query: dict(qrels[query]) for query in claims}
    found = {row.query_id: row.value for row in ir_measures.iter_calc([nDCG @ 10], wanted, run)}
    return np.array([found[query] for query in claims])


def _interval(differences: Values) -> tuple[float, float, float]:
    """Mean of paired differences and its 95 % interval, by the normal distribution."""
    mean = float(differences.mean())
    margin = 1.96 * float(differences.std(ddof=1)) / float(np.sqrt(len(differences)))
    return mean, mean - margin, mean + margin


def _compared(row: Mapping[str, Any]) -> dict[str, float]:
    names = [name for name in row if name.startswith(("recall", "precision", "scifact"))]
    return {name: row[name] for name in names}


def _ratios(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    found = {}
    for settings in SIZES:
        own, windows = (figures[f"{name}, {settings.max_tokens}"] for name in (OWN, WINDOWS))
        for name, value in _compared(own).items():
            found[f"{name}, {settings.max_tokens}: own / windows"] = value / windows[name]
    return found


def _row(label: str, row: Mapping[str, Any]) -> dict[str, str]:
    spans = {
        f"@{budget} r / p": f"{row[f'recall@{budget}']:.3f} / {row[f'precision@{budget}']:.3f}"
        for budget in BUDGETS
    }
    return {
        "passages": label,
        "tokens": f"{row['tokens_a_passage']:.0f}",
        **spans,
        "nDCG@10": f"{row[NDCG]:.3f}",
        "changed": f"{row['changed']['mean']:.1f} (most {row['changed']['most']})",
    }
