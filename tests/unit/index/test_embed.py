import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.config import EmbeddingModel
from tasks.errors import SetupError
from tasks.index.embed import Embedder, load_embedder
from tasks.index.identity import embedder_digest
from tests.embedders import HashingEmbedder


def settings(**changes: object) -> EmbeddingModel:
    values = {"sources": (), "sha256": "0" * 64, "dimensions": 384, "max_tokens": 256}
    return EmbeddingModel.model_validate(values | changes)


def test_the_digest_covers_everything_that_changes_a_vector():
    changes = [
        {},
        {"sha256": "1" * 64},
        {"dtype": "bfloat16"},
        {"max_tokens": 128},
        {"backend": "onnx"},
        {"backend": "onnx", "dtype": "int8"},
    ]
    assert len({embedder_digest(settings(**change)) for change in changes}) == len(changes)


@pytest.mark.parametrize(
    "change", [{"license": "MIT"}, {"devices": ("cuda:0", "cuda:1")}, {"batch_tokens": 64}]
)
def test_where_and_in_which_batches_it_is_computed_is_no_part_of_the_digest(change: dict):
    assert embedder_digest(settings(**change)) == embedder_digest(settings())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "int8"}, "torch computes in float32, bfloat16, float16, not int8"),
        ({"backend": "onnx", "dtype": "float16"}, "onnx computes in float32, int8, not float16"),
        ({"backend": "onnx", "devices": ("cuda:0",)}, "onnx runs on the processor"),
        ({"devices": ()}, "at least 1"),
    ],
)
def test_what_a_backend_cannot_do_is_refused_when_settings_are_read(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        settings(**change)


def test_a_directory_that_is_no_model_is_refused_before_anything_is_loaded(tmp_path: Path):
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(SetupError, match=r"config\.json"):
        load_embedder("minilm", settings(), tmp_path, room=tmp_path)


def test_the_hashing_embedder_keeps_the_protocol():
    embedder: Embedder = HashingEmbedder()
    vectors = embedder.encode(["one", "two words", ""])
    assert vectors.shape == (3, embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_importing_the_room_loads_no_heavy_library():
    program = (
        "import json, sys\n"
        "import tasks.corpus.snapshot, tasks.index.build, tasks.index.search\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", program], cwd=Path.cwd()))
    heavy = {
        "torch",
        "onnxruntime",
        "faiss",
        "datasets",
        "sentence_transformers",
        "transformers",
        "pyarrow",
    }
    assert not heavy & set(loaded)
