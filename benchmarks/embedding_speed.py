"""P4: texts embedded a second, and nDCG@10 of what they find, by backend and number format.

Beside sentence-transformers' own `encode` with its defaults. All take turns on blocks of the same
texts, so that whatever else the machine does slows all of them. Its ONNX and OpenVINO backends
need an optimum that collides with the environment (docs/decisions/0009), so they aren't here.

The sample holds every document that is judged relevant, filled up with others to TEXTS.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.beir import Beir, ndcg, nearest, read_beir
from benchmarks.harness import Result, save, show, versions
from tasks.config import EmbeddingModel, ModelsSettings, load_settings
from tasks.index.embed import load_embedder
from tasks.index.embed_torch import load_model
from tasks.serve.weights import ensure_embedding
from tasks.store import Home

NAME = "all-minilm-l6-v2"
TEXTS, BLOCK = 600, 50
GOAL, TOLERANCE = 3.0, 0.005
DEFAULT = "sentence-transformers, defaults"
BACKENDS = (
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("onnx", "float32"),
    ("onnx", "int8"),
)


def main(directory: Path) -> bool:
    """Run it on a BEIR directory; whether the goal was met."""
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
    questions = list(data.questions.values())
    asked = {name: np.asarray(encoder.encode(questions)) for name, encoder in encoders.items()}
    texts = list(data.texts.values())
    seconds = dict.fromkeys(encoders, 0.0)
    parts: dict[str, list[Any]] = {name: [] for name in encoders}
    for start in range(0, len(texts), BLOCK):
        for name, encoder in encoders.items():
            began = time.perf_counter()
            parts[name].append(encoder.encode(texts[start : start + BLOCK]))
            seconds[name] += time.perf_counter() - began
    quality = {
        name: ndcg(data, nearest(data, np.concatenate(found), asked[name], k=100))
        for name, found in parts.items()
    }
    rates = {name: len(texts) / spent for name, spent in seconds.items()}
    ratios = {name: rate / rates[DEFAULT] for name, rate in rates.items()}
    good = [
        name
        for name in encoders
        if ratios[name] >= GOAL and quality[name] >= quality[DEFAULT] - TOLERANCE
    ]
    figures = {name: {"texts_s": rates[name], "nDCG@10": quality[name]} for name in encoders}
    result = Result(
        id="P4",
        work=f"embed {len(texts):,} abstracts, {len(questions):,} questions, 256 tokens at most",
        own={name: figure for name, figure in figures.items() if name != DEFAULT},
        peers={
            DEFAULT: figures[DEFAULT],
            "sentence-transformers, ONNX or OpenVINO": "can't be installed beside datasets 5",
        },
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
                "x the default": f"{ratios[name]:.2f}",
                "nDCG@10": f"{quality[name]:.4f}",
            }
            for name in encoders
        ],
    )
    save(result)
    return result.met


def _sample(data: Beir) -> Beir:
    relevant = {document for found in data.relevance.values() for document in found}
    others = [document for document in data.texts if document not in relevant]
    drawn = np.random.default_rng(4).permutation(len(others))[: max(0, TEXTS - len(relevant))]
    kept = sorted(relevant) + [others[row] for row in drawn]
    return Beir({name: data.texts[name] for name in kept}, data.questions, data.relevance)
