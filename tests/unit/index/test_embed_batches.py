import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from tasks.index.embed_batches import Tokens, token_batches

PAD = 9


def batches(texts: list[str], *, budget: int = 12, window: int = 100) -> list[Tokens]:
    tokenizer = Tokenizer(WordLevel({"a": 1, "b": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_truncation(8)
    return list(token_batches(tokenizer, texts, budget=budget, window=window, pad_id=PAD))


def test_texts_of_one_length_share_a_batch_and_the_longest_come_first():
    found = batches(["a", "a b a b", "b", "b a b a"])
    assert [batch.rows for batch in found] == [[1, 3, 0], [2]]
    assert found[0].ids.tolist() == [[1, 2, 1, 2], [2, 1, 2, 1], [1, PAD, PAD, PAD]]
    assert found[0].mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0]]


def test_what_the_model_cannot_read_is_cut_off_before_batches_are_made():
    (batch,) = batches(["a " * 50])
    assert batch.ids.shape == (1, 8)


def test_a_text_without_tokens_is_a_row_that_masks_everything():
    (batch,) = batches([""])
    assert batch.rows == [0]
    assert batch.mask.tolist() == [[0]]


@given(
    lengths=st.lists(st.integers(0, 12), max_size=30),
    budget=st.integers(1, 40),
    window=st.integers(1, 12),
)
def test_every_text_is_in_one_batch_and_no_batch_is_over_its_budget(
    lengths: list[int], budget: int, window: int
):
    found = batches(["a " * length for length in lengths], budget=budget, window=window)
    assert sorted(row for batch in found for row in batch.rows) == list(range(len(lengths)))
    for batch in found:
        assert batch.ids.size <= budget or len(batch.rows) == 1
        expected = [min(lengths[row], 8) for row in batch.rows]
        assert np.sum(batch.mask, axis=1).tolist() == expected
