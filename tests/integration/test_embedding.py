"""The embedding model that the project ships settings for, with its real weights."""

from pathlib import Path

import numpy as np
import pytest

from tasks.config import Chunking, ModelsSettings, load_settings
from tasks.corpus.document import Document
from tasks.errors import SetupError
from tasks.index.build import build_index
from tasks.index.embed import SentenceEmbedder, load_embedder
from tasks.index.search import open_index
from tasks.serve.weights import ensure_embedding
from tasks.store import Home
from tests.corpora import MemorySnapshot

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
    changed = type(model).model_validate(model.model_dump() | changes)
    return load_embedder(NAME, changed, weights, room=weights.parent)


def test_the_real_model_finds_meaning_in_other_words(weights: Path, tmp_path: Path):
    model = embedder(weights)
    documents = [
        Document(str(row), "Note", text, {"source": "notes"}) for row, text in enumerate(TEXTS[:3])
    ]
    report = build_index(MemorySnapshot(documents), Chunking(), model, room=tmp_path, previous=None)
    hits = open_index(report.directory, model).search(
        ["Where does the pet rest?", "monetary policy"], top_k=1
    )
    assert hits[0][0].doc_id in {"0", "1"}
    assert hits[1][0].doc_id == "2"


ARITHMETIC = [
    ("torch", "float32", 0.999999),
    ("torch", "bfloat16", 0.999),
    ("onnx", "float32", 0.999999),
    ("onnx", "int8", 0.98),
]


@pytest.mark.parametrize(("backend", "dtype"), [line[:2] for line in ARITHMETIC])
def test_vectors_have_length_one_and_the_order_of_the_texts(
    weights: Path, backend: str, dtype: str
):
    model = embedder(weights, backend=backend, dtype=dtype)
    seen: list[tuple[int, int]] = []
    vectors = model.encode(TEXTS, progress=lambda done, total: seen.append((done, total)))
    assert vectors.shape == (4, model.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
    assert seen == [(4, 4)]
    assert model.encode([]).shape == (0, model.dimensions)


@pytest.mark.parametrize(("backend", "dtype", "least"), ARITHMETIC)
def test_another_arithmetic_changes_a_vector_only_so_far(
    weights: Path, backend: str, dtype: str, least: float
):
    full = embedder(weights).encode(TEXTS)
    other = embedder(weights, backend=backend, dtype=dtype).encode(TEXTS)
    assert np.sum(full * other, axis=1).min() > least


def test_vectors_are_those_of_sentence_transformers_itself(weights: Path):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(weights), device="cpu", local_files_only=True)
    model.max_seq_length = 256
    expected = model.encode(TEXTS, show_progress_bar=False)
    assert np.allclose(embedder(weights).encode(TEXTS), expected, atol=1e-5)


def test_several_devices_are_a_process_each_and_give_the_same_vectors(weights: Path):
    texts = [f"note {number % 40}" for number in range(400)]
    alone = embedder(weights, dtype="bfloat16").encode(texts[:40])
    several = embedder(weights, dtype="bfloat16", devices=("cpu", "cpu"))
    for _ in range(2):
        assert np.sum(np.tile(alone, (10, 1)) * several.encode(texts), axis=1).min() > 0.999


def test_a_conversion_that_was_cut_off_is_made_again(weights: Path, tmp_path: Path):
    model = load_settings(Path("configs/models.yaml"), ModelsSettings).embedding(NAME)
    model = type(model).model_validate(model.model_dump() | {"backend": "onnx"})
    (tmp_path / f".{model.sha256[:16]}.partial-dead").mkdir()
    load_embedder(NAME, model, weights, room=tmp_path).encode(["text"])
    (made,) = tmp_path.glob("[!.]*-onnx-float32-v*")
    assert [path.name for path in made.iterdir()] == ["model.onnx"]
    written = made.stat().st_mtime_ns
    load_embedder(NAME, model, weights, room=tmp_path).encode(["text"])
    assert made.stat().st_mtime_ns == written


def test_a_device_that_is_not_there_is_an_error_that_names_it(weights: Path):
    with pytest.raises(SetupError, match="'cuda:7'"):
        embedder(weights, devices=("cuda:7",)).encode(["text"])


def test_tokens_are_counted_beyond_what_the_model_reads(weights: Path):
    model = embedder(weights)
    assert model.count_tokens("The cat sleeps.") == 4
    assert model.count_tokens(TEXTS[3]) == 1_000


def test_wrong_dimensions_are_an_error_that_says_which_line_to_change(weights: Path):
    with pytest.raises(SetupError, match="384") as raised:
        embedder(weights, dimensions=256).encode(["text"])
    assert "dimensions: 384" in raised.value.next_step
