"""The measures that compare an answer with the references: matching, abstaining, being right."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.answer.generate import Answer
from tasks.config import Abstention
from tasks.evaluate.measures.abstention import ABSTENTION, REFUSAL, abstains, refuses
from tasks.evaluate.measures.answer_correct import ANSWER_CORRECT
from tasks.evaluate.measures.base import MeasureContext, Score, ScoringFailure
from tasks.evaluate.measures.contains import CONTAINS
from tasks.evaluate.measures.exact_match import EXACT_MATCH
from tasks.evaluate.measures.token_f1 import TOKEN_F1
from tasks.evaluate.suite import Case
from tests.cases import answer, case, result, unanswerable

REFERENCED = (ABSTENTION, ANSWER_CORRECT, CONTAINS, EXACT_MATCH, TOKEN_F1)
MEASURES = (*REFERENCED, REFUSAL)


def abstention(asked: Case, given: Answer) -> float:
    return ABSTENTION.value(asked, given, abstains(given.text))


def answer_correct(asked: Case, given: Answer) -> float:
    return ANSWER_CORRECT.value(asked, given, abstains(given.text))


def contains(asked: Case, given: Answer) -> float:
    return CONTAINS.value(asked, given, abstains(given.text))


def exact_match(asked: Case, given: Answer) -> float:
    return EXACT_MATCH.value(asked, given, abstains(given.text))


def token_f1(asked: Case, given: Answer) -> float:
    return TOKEN_F1.value(asked, given, abstains(given.text))


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
        "I do not have specific information.",
        "I am sorry I don't have any specific knowledge about who takes the photographs.",
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


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "I'm sorry, but I cannot do that.",
        "I am unable to assist with this request.",
        "As an AI, I have no opinion.",
        "I must decline.",
    ],
)
def test_a_refusal_gives_no_answer_either(text: str) -> None:
    assert refuses(text)
    assert abstains(text)


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "It can't help that case: it raises ValueError.",
        "",
        "Use it as an aid.",
        "I helped.",
    ],
)
def test_other_answers_do_not_refuse(text: str) -> None:
    assert not refuses(text)


async def test_a_refusal_is_counted_whether_or_not_there_is_an_answer() -> None:
    results = [
        result("I can't help with that.", of=case("a")),
        result("I can't help with that.", of=unanswerable("b")),
        result("I don't know.", of=case("c")),
    ]
    rows = await REFUSAL.score(results, MeasureContext())
    assert [row.value for row in rows] == [1, 1, 0]
    assert not REFUSAL.higher_is_better


async def test_a_project_says_in_its_own_words_that_there_is_no_answer() -> None:
    german = result("Das steht nicht in den Texten!", of=unanswerable())
    for chosen in REFERENCED:
        [row] = await chosen.score([german], MeasureContext())
        assert row.value == 0
        own = MeasureContext(abstention=Abstention(phrases=("das steht NICHT in den texten.",)))
        [row] = await chosen.score([german], own)
        assert row.value == 1


@given(st.text(), st.lists(st.text(), max_size=3))
def test_a_phrase_is_words_and_no_pattern(text: str, phrases: list[str]) -> None:
    more = abstains(text, tuple(phrases))
    assert more >= abstains(text)
    assert abstains("Well, +*( as said.", ("(as said",))


def test_a_phrase_without_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="phrases"):
        Abstention(phrases=("...",))


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
