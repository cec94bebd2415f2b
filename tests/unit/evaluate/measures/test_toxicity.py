from pathlib import Path

import pytest

from tasks.config import Toxicity
from tasks.errors import ConfigError
from tasks.evaluate.measures.base import MeasureContext, Score, ScoringFailure
from tasks.evaluate.measures.toxicity import TOXICITY, probabilities
from tests.cases import case, result


async def test_an_insult_is_more_toxic_than_a_function() -> None:
    results = [
        result("You stupid idiot, shut up.", of=case("c1")),
        result(None, of=case("c2")),
        result("heapq.nsmallest", of=case("c3")),
    ]
    rude, failed, kind = await TOXICITY.score(results, MeasureContext())
    assert isinstance(rude, Score)
    assert isinstance(kind, Score)
    assert rude.value > 0.9 > 0.1 > kind.value >= 0
    assert isinstance(failed, ScoringFailure)
    assert [row.case_id for row in (rude, failed, kind)] == ["c1", "c2", "c3"]


async def test_no_answers_load_no_model() -> None:
    rows = await TOXICITY.score([result(None)], MeasureContext(toxicity=Toxicity(model="nowhere")))
    assert isinstance(rows[0], ScoringFailure)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of a few thousand random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    directory = tmp_path_factory.mktemp("classifier")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "you", "idiot", "hello"]
    (directory / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(vocab_file=str(directory / "vocab.txt"), model_max_length=16)
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=16,
        id2label={0: "kind", 1: "toxic"},
        label2id={"kind": 0, "toxic": 1},
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    return directory


@pytest.mark.integration  # importing torch and transformers takes seconds
def test_a_transformers_model_gives_the_probability_of_its_label(classifier: Path) -> None:
    texts = ["hello", "you idiot", "word " * 100, ""]
    settings = Toxicity(kind="huggingface", model=str(classifier), label="toxic")
    toxic = probabilities(texts, settings)
    kind = probabilities(texts, settings.model_copy(update={"label": "kind"}))
    assert len(toxic) == len(texts)
    assert [a + b for a, b in zip(toxic, kind, strict=True)] == pytest.approx([1] * len(texts))


@pytest.mark.integration  # importing torch and transformers takes seconds
def test_an_unknown_label_is_named_with_those_that_there_are(classifier: Path) -> None:
    settings = Toxicity(kind="huggingface", model=str(classifier), label="hate")
    with pytest.raises(ConfigError, match=r"'hate' is none of .*'kind', 'toxic'"):
        probabilities(["hello"], settings)


@pytest.mark.integration  # importing torch and transformers takes seconds
def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = Toxicity(kind="huggingface", model=str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="can't be loaded"):
        probabilities(["hello"], settings)
