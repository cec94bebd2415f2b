"""The measures that compare an answer with the references: matching, abstaining, being right."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluate.measures.abstention import ABSTENTION, abstains, abstention
from tasks.evaluate.measures.answer_correct import ANSWER_CORRECT, answer_correct
from tasks.evaluate.measures.base import MeasureContext, Score, ScoringFailure
from tasks.evaluate.measures.contains import CONTAINS, contains
from tasks.evaluate.measures.exact_match import EXACT_MATCH, exact_match
from tasks.evaluate.measures.token_f1 import TOKEN_F1, token_f1
from tests.cases import answer, case, result, unanswerable

MEASURES = (ABSTENTION, ANSWER_CORRECT, CONTAINS, EXACT_MATCH, TOKEN_F1)


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "I don’t know.",
        "I do not know the answer",
        "Sorry, I cannot answer that from the passages.",
        "The passages do not contain the answer.",
        "The provided context doesn't mention it.",
        "That is not mentioned in the passages.",
        "It isn't covered by the given documents.",
        "Unknown.",
        "No answer",
        "There is no information about that in the passages.",
        "I could not find it.",
        "I'm not sure.",
    ],
)
def test_an_answer_may_say_that_it_does_not_know(text: str) -> None:
    assert abstains(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "heapq.nsmallest",
        "It returns None when the key is not in the dictionary.",
        "Use contextlib.suppress",
        "Once there was a programmer who met a very old snake in a garden: I don't know you.",
        "uuid.SafeUUID.unknown",
        "set.discard does nothing if the element is unknown to the set",
        "The documents hold it: heapq",
    ],
)
def test_other_answers_do_not_abstain(text: str) -> None:
    assert not abstains(text)


def test_abstaining_is_right_exactly_when_there_is_no_answer() -> None:
    assert abstention(unanswerable(), answer("I don't know")) == 1
    assert abstention(unanswerable(), answer("heapq.merge")) == 0
    assert abstention(case(), answer("I don't know")) == 0
    assert abstention(case(), answer("heapq.merge")) == 1


@pytest.mark.parametrize("value", [exact_match, token_f1, contains, answer_correct])
def test_without_an_answer_in_the_corpus_only_abstaining_counts(value) -> None:
    assert value(unanswerable(), answer("I don't know.")) == 1
    assert value(unanswerable(), answer("heapq.nsmallest")) == 0
    assert value(unanswerable(), answer("")) == 0


def test_an_alias_is_as_good_as_the_reference() -> None:
    asked = case(reference="heapq.nsmallest", aliases=("nsmallest",))
    for value in (exact_match, token_f1, contains, answer_correct):
        assert value(asked, answer("`nsmallest()`")) == 1


def test_exact_match_takes_no_word_more() -> None:
    assert exact_match(case(), answer("The `heapq.nsmallest`.")) == 1
    assert exact_match(case(), answer("heapq.nsmallest or sorted")) == 0


def test_token_f1_is_the_overlap_of_words() -> None:
    asked = case(reference="one two three four")
    assert token_f1(asked, answer("three two five")) == pytest.approx(2 * 2 / 7)
    assert token_f1(asked, answer("two two two")) == pytest.approx(2 * 1 / 7)
    assert token_f1(asked, answer("")) == 0


def test_contains_needs_whole_words_in_one_piece() -> None:
    assert contains(case(), answer("You can use heapq.nsmallest(n, xs).")) == 1
    assert contains(case(), answer("heapq.nsmallest_n")) == 0
    assert contains(case(reference="ordered dict"), answer("a dict that is ordered")) == 0
    assert contains(case(reference=""), answer("anything")) == 0


def test_a_list_of_everything_is_not_correct() -> None:
    everything = "heapq.nsmallest " + " ".join(f"module.name{i}" for i in range(40))
    assert contains(case(), answer(everything)) == 1
    assert answer_correct(case(), answer(everything)) == 0
    assert answer_correct(case(), answer("I don't know, maybe heapq.nsmallest")) == 0
    assert answer_correct(case(), answer("heapq.nsmallest")) == 1


def test_an_answer_that_was_cut_is_not_correct() -> None:
    assert answer_correct(case(), answer("heapq.nsmallest", finish_reason="length")) == 0


@pytest.mark.parametrize("chosen", MEASURES, ids=lambda chosen: chosen.name)
async def test_a_case_without_answer_keeps_the_reason(chosen) -> None:
    [row] = await chosen.score([result(None)], MeasureContext())
    assert row == ScoringFailure("c1", chosen.name, "CallFailed", "no answer within 1 s", None)


RESULTS = st.builds(
    lambda text, reference, aliases, known: result(
        text, of=(case if known else unanswerable)(reference=reference, aliases=tuple(aliases))
    ),
    st.one_of(st.none(), st.text(), st.sampled_from(["I don't know", "heapq.nsmallest", "a b c"])),
    st.one_of(st.text(), st.sampled_from(["heapq.nsmallest", "b c"])),
    st.lists(st.text(max_size=5), max_size=2),
    st.booleans(),
)


@given(st.lists(RESULTS, max_size=5), st.randoms())
def test_values_are_in_range_and_do_not_depend_on_the_order(
    results: list, shuffler: random.Random
) -> None:
    shuffled = list(range(len(results)))
    shuffler.shuffle(shuffled)
    for chosen in MEASURES:
        rows = asyncio.run(chosen.score(results, MeasureContext()))
        again = asyncio.run(chosen.score([results[i] for i in shuffled], MeasureContext()))
        assert [rows[i] for i in shuffled] == again
        for row in rows:
            if isinstance(row, Score):
                assert 0 <= row.value <= 1
                assert chosen.kind != "binary" or row.value in (0, 1)


@given(st.text(), st.text(min_size=1))
def test_an_exact_match_is_contained_and_overlaps_fully(text: str, reference: str) -> None:
    asked, said = case(reference=reference), answer(text)
    if exact_match(asked, said):
        assert contains(asked, said) == 1
        assert token_f1(asked, said) == (1 if text.strip() else 0)
