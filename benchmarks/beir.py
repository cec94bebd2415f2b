"""A directory in BEIR layout -> texts, questions and judgements, for benchmarks of retrieval."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.index.embed import Vectors

Rankings = Mapping[str, Sequence[tuple[str, float]]]
"""Document ids and scores by question id, best first."""


@dataclass(frozen=True)
class Beir:
    """A test collection: texts and questions by id, and relevance by question and document."""

    texts: dict[str, str]
    """Title and text of each document, as its embedding model reads them."""
    questions: dict[str, str]
    relevance: dict[str, dict[str, int]]


def read_beir(directory: Path) -> Beir:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`; only judged questions are kept."""
    rows = [json.loads(line) for line in (directory / "corpus.jsonl").open(encoding="utf-8")]
    relevance: dict[str, dict[str, int]] = {}
    for line in (directory / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        question, document, grade = line.split("\t")
        relevance.setdefault(question, {})[document] = int(grade)
    queries = [json.loads(line) for line in (directory / "queries.jsonl").open(encoding="utf-8")]
    return Beir(
        texts={row["_id"]: f"{row.get('title', '')} {row['text']}".strip() for row in rows},
        questions={row["_id"]: row["text"] for row in queries if row["_id"] in relevance},
        relevance=relevance,
    )


def nearest(data: Beir, documents: Vectors, questions: Vectors, *, k: int) -> Rankings:
    """Exact dense search; rows are in the order of `data`."""
    names = list(data.texts)
    scores = questions @ documents.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return {
        question: [(names[row], float(scores[line, row])) for row in best[line]]
        for line, question in enumerate(data.questions)
    }


def ndcg(data: Beir, rankings: Rankings) -> float:
    """Mean nDCG@10 over all judged questions, by ir-measures."""
    import ir_measures

    run = {question: dict(found) for question, found in rankings.items()}
    measured = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], data.relevance, run)
    return float(measured[ir_measures.nDCG @ 10])
