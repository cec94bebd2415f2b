"""P4: texts embedded a second, and nDCG@10 of what they find, by backend and number format.

Beside sentence-transformers' own `encode` with its defaults, and with its ONNX backend where that
one's libraries are given (`benchmarks/sentence_transformers_onnx.py`). All take turns on blocks of
the same texts, so that whatever else the machine does slows all of them.

The sample is QUESTIONS drawn questions, every document that is judged relevant to one of them, and
others up to TEXTS: few, so that all of it ends within minutes on two cores. Its nDCG@10 is higher
than that of the whole corpus and only compares formats.

    python -m benchmarks.embedding_speed DATA [LIBRARIES]
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.beir import Beir, ndcg, nearest, read_beir
from benchmarks.harness import Result, save, show, versions
from benchmarks.sentence_transformers_onnx import OnnxPeer
from tasks.config import EmbeddingModel, ModelsSettings, load_settings
from tasks.index.embed import Vectors, load_embedder
from tasks.index.embed_torch import load_model
from tasks.serve.weights import ensure_embedding
from tasks.store import Home

NAME = "all-minilm-l6-v2"
TEXTS, QUESTIONS, BLOCK = 600, 100, 100
GOAL, TOLERANCE = 3.0, 0.005
DEFAULT = "sentence-transformers, defaults"
ONNX = "sentence-transformers, ONNX"
Encode = Callable[[Sequence[str]], tuple[Vectors, float]]
"""Texts -> vectors, and the seconds that they took."""

BACKENDS = (
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("onnx", "float32"),
    ("onnx", "int8"),
)


def main(directory: Path, libraries: Path | None = None) -> bool:
    """Run it on a BEIR directory; whether the goal was met.

    Args:
        directory: the data.
        libraries: those of sentence-transformers' ONNX backend; None: without it.
    """
    with ExitStack() as stack:
        return _run(directory, libraries, stack)


def _run(directory: Path, libraries: Path | None, stack: ExitStack) -> bool:
    data = _sample(read_beir(directory))
    model = load_settings(Path("configs/models.yaml"), ModelsSettings).local_embedding(NAME)
    room = Home.find().room("models")
    weights = ensure_embedding(NAME, model, room=room)
    encoders: dict[str, Any] = {
        DEFAULT: load_model(weights, dtype="float32", device="cpu", max_tokens=model.max_tokens)
    }
    for backend, dtype in BACKENDS:
        changed = EmbeddingModel.model_validate(
            model.model_dump() | {"backend": backend, "dtype": dtype}
        )
        encoders[f"{backend} {dtype}"] = load_embedder(NAME, changed, weights, room=room)
    calls: dict[str, Encode] = {name: _timed(encoder) for name, encoder in encoders.items()}
    if libraries is not None:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        calls[ONNX] = stack.enter_context(OnnxPeer(weights, libraries, scratch)).encode
    questions = list(data.questions.values())
    asked = {name: encode(questions)[0] for name, encode in calls.items()}
    texts = list(data.texts.values())
    counter = encoders[f"{BACKENDS[0][0]} {BACKENDS[0][1]}"]
    tokens = sum(min(counter.count_tokens(text), model.max_tokens) for text in texts)
    seconds = dict.fromkeys(calls, 0.0)
    parts: dict[str, list[Any]] = {name: [] for name in calls}
    for start in range(0, len(texts), BLOCK):
        for name, encode in calls.items():
            vectors, spent = encode(texts[start : start + BLOCK])
            parts[name].append(vectors)
            seconds[name] += spent
    quality = {
        name: ndcg(data, nearest(data, np.concatenate(found), asked[name], k=100))
        for name, found in parts.items()
    }
    rates = {name: len(texts) / spent for name, spent in seconds.items()}
    ratios = {name: rate / rates[DEFAULT] for name, rate in rates.items()}
    good = [
        name
        for name in calls
        if name not in (DEFAULT, ONNX)
        and ratios[name] >= GOAL
        and quality[name] >= quality[DEFAULT] - TOLERANCE
    ]
    figures = {
        name: {
            "texts_s": rates[name],
            "tokens_s": tokens / seconds[name],
            "nDCG@10": quality[name],
        }
        for name in calls
    }
    result = Result(
        id="P4",
        work=f"embed {len(texts):,} abstracts, {len(questions):,} questions, 256 tokens at most",
        own={name: figure for name, figure in figures.items() if name not in (DEFAULT, ONNX)},
        peers={name: figure for name, figure in figures.items() if name in (DEFAULT, ONNX)},
        limit={},
        ratios=ratios,
        goal=f"a backend {GOAL:.0f} x as fast as the default, nDCG@10 at most {TOLERANCE} lower",
        met=bool(good),
        versions=versions("torch", "onnxruntime", "sentence-transformers", "transformers"),
    )
    show(
        result,
        [
            {
                "who": name,
                "texts/s": f"{rates[name]:.1f}",
                "tokens/s": f"{figures[name]['tokens_s']:,.0f}",
                "x the default": f"{ratios[name]:.2f}",
                "nDCG@10": f"{quality[name]:.4f}",
            }
            for name in calls
        ],
    )
    save(result)
    return result.met


def _timed(encoder: Any) -> Encode:
    def encode(texts: Sequence[str]) -> tuple[Vectors, float]:
        began = time.perf_counter()
        found = np.asarray(encoder.encode(texts))
        return found, time.perf_counter() - began

    return encode


def _sample(data: Beir) -> Beir:
    chance = np.random.default_rng(4)
    asked = [sorted(data.questions)[row] for row in chance.permutation(len(data.questions))]
    questions = {name: data.questions[name] for name in sorted(asked[:QUESTIONS])}
    relevance = {name: data.relevance[name] for name in questions}
    relevant = {document for found in relevance.values() for document in found}
    others = [document for document in data.texts if document not in relevant]
    drawn = chance.permutation(len(others))[: max(0, TEXTS - len(relevant))]
    kept = sorted(relevant) + [others[row] for row in drawn]
    return Beir({name: data.texts[name] for name in kept}, questions, relevance)


if __name__ == "__main__":
    sys.exit(0 if main(*map(Path, sys.argv[1:])) else 1)
