import numpy as np

from tasks.index.remember import RememberingEmbedder
from tests.embedders import HashingEmbedder


def test_a_text_is_embedded_once_and_keeps_its_place():
    inner = HashingEmbedder()
    embedder = RememberingEmbedder(inner)
    first = embedder.encode(["apples", "bread", "apples"])
    assert inner.texts == ["apples", "bread"]
    assert np.array_equal(first[0], first[2])
    again = embedder.encode(["cheese", "bread"])
    assert inner.texts == ["apples", "bread", "cheese"]
    assert np.array_equal(again[1], first[1])
    assert np.array_equal(first, HashingEmbedder().encode(["apples", "bread", "apples"]))


def test_it_is_the_model_that_it_wraps():
    inner = HashingEmbedder()
    embedder = RememberingEmbedder(inner)
    assert (embedder.name, embedder.digest, embedder.dimensions) == (
        inner.name,
        inner.digest,
        inner.dimensions,
    )
    assert embedder.count_tokens("two words") == 2
    assert embedder.encode([]).shape == (0, inner.dimensions)
