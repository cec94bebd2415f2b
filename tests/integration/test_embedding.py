"""The embedding model that the project ships settings for, with its real weights."""

from pathlib import Path

import numpy as np
import pytest

from tasks.config import Chunking, ModelsSettings, load_settings
from tasks.corpus.document import Document
from tasks.corpus.snapshot import make_snapshot
from tasks.errors import SetupError
from tasks.index.build import build_index
from tasks.index.embed import SentenceEmbedder, load_embedder
from tasks.index.search import open_index
from tasks.serve.weights import ensure_embedding
from tasks.store import Home

pytestmark = pytest.mark.integration

NAME = "all-minilm-l6-v2"
TEXTS = [
    "The cat sleeps on the sofa.",
    "A kitten is napping on the couch.",
    "Interest rates rose by half a point.",
    "word " * 1_000,
]


@pytest.fixture(scope="module")
def weights() -> Path:
    # The state directory, so that 90 MB are fetched once and not at every run.
    model = load_settings(Path("configs/models.yaml"), ModelsSettings).embedding(NAME)
    return ensure_embedding(NAME, model, room=Home.find().room("models"))


def embedder(weights: Path, **changes: object) -> SentenceEmbedder:
    model = load_settings(Path("configs/models.yaml"), ModelsSettings).embedding(NAME)
    return load_embedder(NAME, model.model_copy(update=changes), weights)


def test_the_real_model_finds_meaning_in_other_words(weights: Path, tmp_path: Path):
    model = embedder(weights)
    documents = [
        Document(str(row), "Note", text, {"source": "notes"}) for row, text in enumerate(TEXTS[:3])
    ]
    report = build_index(
        make_snapshot(documents, []), Chunking(), model, room=tmp_path, previous=None
    )
    hits = open_index(report.directory, model).search(
        ["Where does the pet rest?", "monetary policy"], top_k=1
    )
    assert hits[0][0].doc_id in {"0", "1"}
    assert hits[1][0].doc_id == "2"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_have_length_one_and_the_order_of_the_texts(weights: Path, dtype: str):
    model = embedder(weights, dtype=dtype)
    seen: list[tuple[int, int]] = []
    vectors = model.encode(TEXTS, progress=lambda done, total: seen.append((done, total)))
    assert vectors.shape == (4, model.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
    assert seen == [(4, 4)]
    assert model.encode([]).shape == (0, model.dimensions)


def test_half_precision_hardly_changes_a_vector(weights: Path):
    full, half = (embedder(weights, dtype=dtype).encode(TEXTS) for dtype in ("float32", "bfloat16"))
    assert np.sum(full * half, axis=1).min() > 0.999


def test_tokens_are_counted_beyond_what_the_model_reads(weights: Path):
    model = embedder(weights)
    assert model.count_tokens("The cat sleeps.") == 4
    assert model.count_tokens(TEXTS[3]) == 1_000


def test_wrong_dimensions_are_an_error_that_says_which_line_to_change(weights: Path):
    with pytest.raises(SetupError, match="384") as raised:
        embedder(weights, dimensions=256).encode(["text"])
    assert "dimensions: 384" in raised.value.next_step
