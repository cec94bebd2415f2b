import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluate.measures.words import right_answers, words
from tests.cases import case


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The `heapq.nsmallest()` function.", ("heapq.nsmallest", "function")),
        ("object.__init__", ("object.__init__",)),
        ("str.removeprefix, or slicing", ("str.removeprefix", "or", "slicing")),
        ("Python 3.11.", ("python", "3.11")),
        ("don't", ("dont",)),
        ("well-known", ("well", "known")),
        ("an answer", ("answer",)),
        ("the", ("the",)),
        ("//", ("//",)),
        ("  ", ()),
    ],
)
def test_words_keep_names_whole_and_lose_punctuation(text: str, expected: tuple[str, ...]) -> None:
    assert words(text) == expected


@given(st.text())
def test_words_of_words_are_the_same_words(text: str) -> None:
    once = words(text)
    assert words(" ".join(once)) in (once, tuple(w for w in once if w not in {"a", "an", "the"}))


def test_empty_aliases_are_no_right_answers() -> None:
    assert right_answers(case(reference="x", aliases=("", "y"))) == (("x",), ("y",))
