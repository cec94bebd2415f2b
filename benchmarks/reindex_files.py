"""A folder of long documents, an edit to one percent of them, and a model that costs nothing.

What P1 and P2 give to Ratchet, to LangChain and to LlamaIndex alike. Documents are passages of a
BEIR corpus, joined until they are long enough for about ten chunks. Sizes are counted in words
(`str.split`), by everybody: real tokenisers would take most of the time, and of everybody's.
"""

import gzip
import hashlib
import itertools
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

MAX_WORDS, OVERLAP_WORDS = 64, 8
WORDS_A_DOCUMENT = 450
DIMENSIONS = 64
A_FOLDER = 100
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


class CountingEmbedder:
    """A vector is a hash of its text; `texts` are all that were asked for."""

    name = "counting"
    dimensions = DIMENSIONS

    def __init__(self, digest: str = "counting") -> None:
        self.digest = digest
        self.texts: list[str] = []

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None
    ) -> Any:
        """float32 of shape (texts, 64), rows of length 1."""
        import numpy as np

        self.texts += texts
        hashes = b"".join(
            hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest() for text in texts
        )
        rows = np.frombuffer(hashes, dtype=np.uint8).reshape(-1, DIMENSIONS).astype(np.float32)
        rows = rows - 127.5
        if progress is not None:
            progress(len(texts), len(texts))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def count_tokens(self, text: str) -> int:
        """Words."""
        return count_words(text)


def count_words(text: str) -> int:
    """Parts of a text between blanks."""
    return len(text.split())


def write_files(folder: Path, data: Path, documents: int, *, words: int = WORDS_A_DOCUMENT) -> None:
    """Write documents as text files, a hundred in a folder.

    Args:
        folder: is made.
        data: a BEIR corpus: `corpus.jsonl`, or `corpus.jsonl.gz`, or a directory that holds
            `corpus.jsonl` or `scale_docs/corpus.jsonl.gz`. Its passages start again when there are
            too few.
        documents: how many.
        words: that each has at least.
    """
    passages = _passages(data)
    for number in range(documents):
        if number % A_FOLDER == 0:
            inside = folder / f"{number // A_FOLDER:04d}"
            inside.mkdir(parents=True)
        parts = [f"Document number {number}."]
        left = words
        while left > 0:
            parts.append(next(passages))
            left -= count_words(parts[-1])
        (inside / f"{number:06d}.txt").write_text("\n\n".join(parts), encoding="utf-8")


def insert_sentences(folder: Path, *, seed: int = 0) -> int:
    """Insert one sentence in every hundredth document, between two of its own; how many."""
    chance = random.Random(seed)  # noqa: S311
    paths = sorted(folder.rglob("*.txt"))[::100]
    for number, path in enumerate(paths):
        text = path.read_text(encoding="utf-8")
        ends = [match.end() for match in _SENTENCE_END.finditer(text)]
        place = chance.choice(ends or [len(text)])
        sentence = f"This is sentence {number} that somebody inserted on the second day. "
        path.write_text(text[:place] + sentence + text[place:], encoding="utf-8")
    return len(paths)


def read_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Path and text of every document, in the order of their paths."""
    for path in sorted(folder.rglob("*.txt")):
        yield path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")


def _passages(data: Path) -> Iterator[str]:
    path = data
    if data.is_dir():
        plain = data / "corpus.jsonl"
        path = plain if plain.is_file() else data / "scale_docs" / "corpus.jsonl.gz"
    open_file = gzip.open if path.suffix == ".gz" else open

    def once() -> Iterator[str]:
        with open_file(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)["text"]

    return itertools.chain.from_iterable(once() for _ in itertools.repeat(None))
