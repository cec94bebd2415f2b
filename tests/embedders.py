"""An embedder that needs no weights: words hashed to dimensions, so equal words mean nearness."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from tasks.digest import digest
from tasks.index.embed import Vectors

_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """A bag of hashed words; deterministic on every machine.

    `texts` remembers what went through the model, for tests that count it.
    """

    def __init__(self, name: str = "hashing", *, dimensions: int = 256) -> None:
        self.name = name
        self.dimensions = dimensions
        self.digest = digest("hashing-embedder", 1, {"name": name, "dimensions": dimensions})
        self.texts: list[str] = []

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None
    ) -> Vectors:
        self.texts += texts
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            # A word of its own keeps a text without words from having no direction.
            for word in ["", *_WORD.findall(text.lower())]:
                hashed = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
                vectors[row, int.from_bytes(hashed[:4]) % self.dimensions] += 1
        if progress is not None:
            progress(len(texts), len(texts))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count_tokens(self, text: str) -> int:
        return len(_WORD.findall(text))


def served_embedding(root: Path, url: str, dimensions: int) -> dict[str, Any]:
    """Settings of an embedding model at an endpoint; its tokenizer is written into the project."""
    tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(root / "tokenizer.json"))
    return {
        "backend": "endpoint",
        "url": url,
        "served_name": "tiny",
        "tokenizer": "tokenizer.json",
        "dimensions": dimensions,
        "max_tokens": 512,
        "price": {"machine_hour": 1.0},
    }
