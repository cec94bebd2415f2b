"""Citations: which sentence cites what, and whether that says so."""

import json
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import MeasureContext, Score, ScoringFailure
from tasks.evaluate.measures.citations import Sentence, precision, recall, sentences
from tests.cases import case, chunk, result, unanswerable
from tests.servers import OpenAIServer
from tests.unit.evaluate.measures.test_ragas import client, context_of

PASSAGES = (
    chunk(text="FIRST says a.", rank=1),
    chunk(text="SECOND says b.", start=20, end=34, rank=2),
    chunk(text="THIRD says c.", start=40, end=54, rank=3),
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("A is so [1]. B is not [2][3].", [("A is so.", (1,)), ("B is not.", (2, 3))]),
        ("A is so. [1] B is not.[2, 3]", [("A is so.", (1,)), ("B is not.", (2, 3))]),
        ("A is so.\n[1; 1]\n- B is not [9]", [("A is so.", (1,)), ("- B is not", (9,))]),
        ("Use `argv[1]` and heapq.merge [2].", [("Use `argv[1]` and heapq.merge.", (2,))]),
        ("```\nx[0]. y\n``` does it [1]!", [("``` x[0]. y ``` does it!", (1,))]),
        ("It has 3.5 parts", [("It has 3.5 parts", ())]),
        ("[1]", []),
        ("", []),
    ],
)
def test_a_sentence_has_the_citations_in_it_and_behind_it(answer, expected):
    assert [(each.text, each.cited) for each in sentences(answer)] == expected


@given(st.text(alphabet="ab.!? \n[]123,`", max_size=60))
def test_no_word_is_lost_between_sentences(answer):
    found = sentences(answer)
    kept = "".join(each.text for each in found)
    assert sum(kept.count(letter) for letter in "ab") == sum(answer.count(c) for c in "ab")


def subsets(numbers):
    return chain.from_iterable(combinations(numbers, size) for size in range(1, len(numbers) + 1))


@given(st.data())
async def test_recall_and_precision_are_those_of_the_paper(data):
    given_numbers = (1, 2, 3)
    found = [
        Sentence(str(n), tuple(data.draw(st.lists(st.integers(1, 5), unique=True, max_size=4))))
        for n in range(data.draw(st.integers(1, 4)))
    ]
    found.append(Sentence("last", (1,)))
    entailed = {
        (each.text, numbers): data.draw(st.booleans())
        for each in found
        for numbers in subsets(given_numbers)
    }

    async def supports(sentence, numbers):
        return entailed[sentence.text, numbers]

    def entails(sentence, numbers):
        real = tuple(sorted(set(numbers) & set(given_numbers)))
        return bool(real) and entailed[sentence.text, real]

    supported = [entails(each, each.cited) for each in found]
    relevant = [
        entails(each, each.cited)
        and number in given_numbers
        and (entails(each, [number]) or not entails(each, [n for n in each.cited if n != number]))
        for each in found
        for number in each.cited
    ]
    assert await recall(found, given_numbers, supports) == sum(supported) / len(supported)
    assert await precision(found, given_numbers, supports) == sum(relevant) / len(relevant)


async def test_a_passage_that_was_not_given_is_counted_without_a_model():
    asked = result("A [1]. B [4]. C [0, 2].", retrieved=PASSAGES)
    [row] = await measure("citation_validity").score([asked], MeasureContext())
    assert row == Score("c1", "citation_validity", 2 / 4)
    assert not measure("citation_validity").judged


async def test_the_judge_sees_only_what_a_sentence_cites_and_is_asked_once_for_both():
    def judge(body):
        prompt = body["messages"][0]["content"]
        return json.dumps({"supported": int("FIRST" in prompt)})

    asked = result("A is so [1]. B is so [2]. C is so [3, 1]. D is so.", retrieved=PASSAGES)
    with OpenAIServer(judge) as server:
        async with client(server) as door:
            context = context_of(door)
            [held] = await measure("citation_recall").score([asked], context)
            assert len(server.requests) == 3
            [needed] = await measure("citation_precision").score([asked], context)
        prompts = [body["messages"][0]["content"] for body in server.requests]
    assert held == Score("c1", "citation_recall", 2 / 4)
    # [1] alone, and [1] beside [3], which is not needed.
    assert needed == Score("c1", "citation_precision", 2 / 4)
    assert len(prompts) == len(set(prompts)) == 5
    of_a = next(prompt for prompt in prompts if "Sentence of an answer: A is so." in prompt)
    assert "[1] heapq.nsmallest\nFIRST" in of_a
    assert "SECOND" not in of_a
    assert "THIRD" not in of_a
    assert not any("D is so" in prompt for prompt in prompts)


async def test_one_sentence_that_cannot_be_judged_leaves_the_answer_without_a_value_but_asks_all():
    asked = result("A is so [1]. B is so [2]. C is so [3].", retrieved=PASSAGES)

    def judge(body):
        return "no" if "FIRST" in body["messages"][0]["content"] else '{"supported": 1}'

    with OpenAIServer(judge) as server:
        async with client(server) as door:
            [row] = await measure("citation_recall").score([asked], context_of(door))
    assert isinstance(row, ScoringFailure)
    assert (row.error_type, row.raw) == ("UnreadableJudgement", "no")
    assert len(server.requests) == 3 + 1


async def test_citing_only_what_was_not_given_is_0_and_asks_nobody():
    asked = result("A is so [7].", retrieved=PASSAGES)
    with OpenAIServer(lambda _: "{}") as server:
        async with client(server) as door:
            names = ("citation_recall", "citation_precision")
            rows = [(await measure(n).score([asked], context_of(door)))[0] for n in names]
        assert server.requests == []
    assert [row.value for row in rows] == [0, 0]


@pytest.mark.parametrize("name", ["citation_validity", "citation_recall", "citation_precision"])
@pytest.mark.parametrize("answer", ["Use heapq.nsmallest.", "", "Use `argv[1]`."])
async def test_an_answer_without_citations_has_no_value(name, answer):
    [row] = await measure(name).score([result(answer, retrieved=PASSAGES)], MeasureContext())
    assert isinstance(row, ScoringFailure)
    assert row.error_type == "NoCitation"
    assert not measure(name).applies(unanswerable())
    assert measure(name).applies(case())
