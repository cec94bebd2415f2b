"""A real cross-encoder, tiny and untrained: that its scores decide, not that they are good."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from tasks.config import RerankerModel
from tasks.errors import SetupError
from tasks.index.identity import reranker_digest
from tasks.index.rerank import CrossEncoderReranker
from tasks.index.search import Retrieved

pytestmark = pytest.mark.integration

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "cats", "dogs", "owls", "hunt", "bark", "night")


def cross_encoder(directory: Path, *, labels: int = 1) -> Path:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        num_labels=labels,
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    words = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(directory)
    return directory


def settings(**changes: object) -> RerankerModel:
    return RerankerModel.model_validate(
        {"sources": (), "sha256": "0" * 64, "max_tokens": 16} | changes
    )


def passages(*texts: str) -> list[Retrieved]:
    return [
        Retrieved(text, text, "", text, 0, len(text), 0.5, rank)
        for rank, text in enumerate(texts, start=1)
    ]


def test_the_models_scores_decide_the_order(tmp_path: Path):
    from sentence_transformers import CrossEncoder

    directory = cross_encoder(tmp_path)
    found = passages("cats hunt", "dogs bark night", "owls", "night owls hunt")
    reranked = CrossEncoderReranker("tiny", settings(), directory).rerank("hunt night", found)
    model = CrossEncoder(str(directory), device="cpu", max_length=16, local_files_only=True)
    pairs = [("hunt night", f"\n{passage.text}") for passage in found]
    expected = dict(zip([p.text for p in found], model.predict(pairs).tolist(), strict=True))
    assert [hit.text for hit in reranked] == sorted(expected, key=lambda text: -expected[text])
    assert [hit.score for hit in reranked] == pytest.approx(sorted(expected.values())[::-1])
    assert [hit.rank for hit in reranked] == [1, 2, 3, 4]
    assert len(set(expected.values())) == 4


def test_equal_scores_are_ordered_by_chunk_id_and_nothing_gives_nothing(tmp_path: Path):
    reranker = CrossEncoderReranker("tiny", settings(), cross_encoder(tmp_path))
    # Words that the model doesn't know look the same to it.
    reranked = reranker.rerank("cats", passages("zebras", "apes"))
    assert [hit.text for hit in reranked] == ["apes", "zebras"]
    assert reranker.rerank("cats", []) == []


def test_a_classifier_is_refused_as_a_reranker(tmp_path: Path):
    reranker = CrossEncoderReranker("tiny", settings(), cross_encoder(tmp_path, labels=3))
    with pytest.raises(SetupError, match="gives 3 scores"):
        reranker.rerank("cats", passages("cats hunt"))


def test_a_directory_that_is_no_model_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(SetupError, match="can't be loaded"):
        CrossEncoderReranker("tiny", settings(), tmp_path).rerank("cats", passages("cats"))


def test_the_digest_covers_what_changes_a_score(tmp_path: Path):
    assert reranker_digest(settings(device="cuda:0")) == reranker_digest(settings())
    for change in ({"sha256": "1" * 64}, {"max_tokens": 8}):
        assert reranker_digest(settings(**change)) != reranker_digest(settings())
