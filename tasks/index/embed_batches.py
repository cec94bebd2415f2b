"""Texts -> padded batches of token ids, each with a bounded number of tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One batch for the model.

    Attributes:
        rows: which of the texts it holds.
        ids: token ids, shape (texts, longest of them), padded at the right.
        mask: 1 for a token, 0 for padding; the same shape.
    """

    rows: list[int]
    ids: Ints
    mask: Ints


def token_batches(
    tokenizer: Any, texts: Sequence[str], *, budget: int, window: int, pad_id: int
) -> Iterator[Tokens]:
    """Cut texts into batches of nearly equal lengths.

    Work and memory of a model grow with the tokens of a padded batch, so those are bounded. Counts
    of characters would sort badly: code and names have twice the tokens of prose.

    Args:
        tokenizer: a `tokenizers.Tokenizer` that cuts at the model's limit and doesn't pad.
        texts: in any order.
        budget: texts x longest text, in tokens; a batch has at least one text.
        window: texts that are tokenised and sorted at a time.
        pad_id: fills up shorter texts.

    Yields:
        Every text once, a window's longest first.
    """
    for start in range(0, len(texts), window):
        encoded = tokenizer.encode_batch(list(texts[start : start + window]))
        order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]))
        at = 0
        while at < len(order):
            longest = max(1, len(encoded[order[at]]))
            rows = order[at : at + max(1, budget // longest)]
            at += len(rows)
            ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
            mask = np.zeros_like(ids)
            for line, row in enumerate(rows):
                length = len(encoded[row])
                ids[line, :length] = encoded[row].ids
                mask[line, :length] = 1
            yield Tokens([start + row for row in rows], ids, mask)
