import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from tasks.config import ModelsSettings, RemoteEmbedding
from tasks.errors import BudgetSpent, CallFailed, SetupError, WrongModel
from tasks.index.embed import Embedder
from tasks.index.identity import embedder_digest
from tasks.serve.budget import Budget
from tasks.serve.embedding import RemoteEmbedder
from tasks.serve.journal import Journal
from tasks.serve.label import calling
from tasks.serve.meter import Meter
from tasks.serve.transport import Backoff
from tests.servers import OpenAIServer, Raw, Status


def vectors(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0, 0.0] for text in texts]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(embed=vectors, api_key="secret") as running:
        yield running


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = {"[CLS]": 0, "[SEP]": 1, "?": 2}
    made = Tokenizer(WordLevel(words, unk_token="?"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def settings(server: OpenAIServer, **changes: Any) -> RemoteEmbedding:
    values = {
        "backend": "endpoint",
        "url": server.url,
        "served_name": "tiny",
        "tokenizer": "tokenizer.json",
        "dimensions": 3,
        "max_tokens": 8,
        "price": {"input_per_million": 1_000_000, "output_per_million": 0},
    }
    return RemoteEmbedding.model_validate(values | changes)


def remote(
    server: OpenAIServer, tokenizer: Path, budget: Budget | None = None, **changes: Any
) -> RemoteEmbedder:
    return RemoteEmbedder(
        "served",
        settings(server, **changes),
        tokenizer=tokenizer,
        api_key="secret",
        backoff=Backoff(first_s=0.01, longest_s=0.01),
        budget=budget,
    )


def test_vectors_come_in_the_order_of_the_texts_with_length_one(
    server: OpenAIServer, tokenizer: Path
):
    embedder: Embedder = remote(server, tokenizer, batch_tokens=10)
    texts = [f"word {'x' * number}" for number in range(20)]
    seen: list[tuple[int, int]] = []
    found = embedder.encode(texts, progress=lambda done, total: seen.append((done, total)))
    expected = np.array(vectors(texts))
    assert found.dtype == np.float32
    assert np.allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True))
    assert len(server.requests) == 10
    assert seen == [(20, 20)]
    assert embedder.encode([]).shape == (0, 3)


def test_every_token_is_counted_and_priced(server: OpenAIServer, tokenizer: Path):
    embedder = remote(server, tokenizer)
    embedder.encode(["one two three", "four"])
    totals = embedder.meter.totals()["embedding"]
    assert (totals.calls, totals.input_tokens, totals.output_tokens) == (1, 4, 0)
    assert totals.spent == pytest.approx(4.0)
    assert totals.unknown == 0


def test_an_evaluation_counts_and_pays_what_it_embeds_and_keeps_no_vectors(
    server: OpenAIServer, tokenizer: Path, tmp_path: Path
):
    budget = Budget(tmp_path / "spending.json", run=4.0, month=None, currency="USD")
    embedder = remote(server, tokenizer, budget=budget)
    meter, journal = Meter(), Journal()
    with calling(meter=meter, journal=journal):
        embedder.encode(["one two three", "four"])
    assert meter.totals()["embedding"].input_tokens == 4
    assert len(journal) == 0
    with pytest.raises(BudgetSpent, match="'embedding'"):
        embedder.encode(["five"])
    assert len(server.requests) == 1


def test_what_the_model_cannot_read_is_not_sent(server: OpenAIServer, tokenizer: Path):
    # Eight tokens, of which two are special.
    remote(server, tokenizer).encode(["a b c d e f g h", "a b c d e f"])
    assert server.requests[0]["input"] == ["a b c d e f", "a b c d e f"]


def test_a_busy_server_is_asked_again(server: OpenAIServer, tokenizer: Path):
    server.faults += [Status(503), Status(429, retry_after="0")]
    embedder = remote(server, tokenizer)
    assert embedder.encode(["text"]).shape == (1, 3)
    assert embedder.meter.records[0].attempts == 3


def test_an_answer_that_holds_no_vectors_is_asked_for_again_and_then_an_error(
    server: OpenAIServer, tokenizer: Path
):
    server.faults += [Raw(json.dumps({"data": [{"index": 0}]}).encode())] * 2
    with pytest.raises(CallFailed, match="isn't that of an OpenAI-compatible server"):
        remote(server, tokenizer, attempts=2).encode(["text"])


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1.0, 2.0], "vectors of \\[2\\] numbers"),
        ([0.0, 0.0, 0.0], "without a direction"),
        ([float("nan"), 0.0, 1.0], "without a direction"),
    ],
)
def test_vectors_that_cannot_be_used_are_an_error(
    server: OpenAIServer, tokenizer: Path, vector: list[float], message: str
):
    server.embed = lambda texts: [vector for _ in texts]
    with pytest.raises(WrongModel, match=message):
        remote(server, tokenizer).encode(["text"])


def test_fewer_vectors_than_texts_are_an_error(server: OpenAIServer, tokenizer: Path):
    server.embed = lambda texts: vectors(texts[:-1])
    with pytest.raises(WrongModel, match="1 vectors for 2 texts"):
        remote(server, tokenizer).encode(["one", "two"])


def test_the_key_is_sent_and_in_no_message(server: OpenAIServer, tokenizer: Path):
    embedder = RemoteEmbedder("served", settings(server), tokenizer=tokenizer, api_key="wrong-key")
    with pytest.raises(CallFailed, match="401") as caught:
        embedder.encode(["text"])
    assert "wrong-key" not in str(caught.value)


async def test_a_flow_with_an_event_loop_may_embed(server: OpenAIServer, tokenizer: Path):
    assert asyncio.get_running_loop().is_running()
    assert remote(server, tokenizer).encode(["text"]).shape == (1, 3)


def test_a_missing_tokenizer_is_named_before_anything_is_sent(server: OpenAIServer, tmp_path: Path):
    with pytest.raises(SetupError, match=r"nowhere\.json"):
        remote(server, tmp_path / "nowhere.json")


def test_the_digest_covers_the_model_and_not_where_it_is_served(server: OpenAIServer):
    same = settings(server, url="http://elsewhere:1/v1", in_flight=2)
    assert embedder_digest(same) == embedder_digest(settings(server))
    for change in ({"served_name": "other"}, {"sha256": "1" * 64}, {"max_tokens": 9}):
        assert embedder_digest(settings(server, **change)) != embedder_digest(settings(server))


def test_settings_hold_models_with_weights_and_served_ones(server: OpenAIServer):
    local = {"sources": (), "sha256": "0" * 64, "dimensions": 3, "max_tokens": 8}
    served = settings(server).model_dump(mode="json")
    models = ModelsSettings.model_validate(
        {"generators": {}, "embeddings": {"local": local, "served": served}}
    )
    assert models.embedding("served") == settings(server)
    assert models.local_embedding("local") == models.embedding("local")
