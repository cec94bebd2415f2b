"""The native measures: ragas's formulas, other prompts."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import NotScored, Score, ScoringFailure
from tasks.evaluate.measures.native_answer_relevancy import relevancy
from tasks.evaluate.measures.native_judge import average_precision, share
from tests.cases import unanswerable
from tests.servers import OpenAIServer, Text
from tests.unit.evaluate.measures.test_ragas import WordEmbedder, answered, client, context_of

NAMES = (
    "native_faithfulness",
    "native_answer_relevancy",
    "native_context_precision",
    "native_context_recall",
    "native_abstention",
)
QUESTION = "Which function gives the n smallest elements?"
VERDICTS = st.lists(st.integers(0, 1), min_size=1, max_size=6)


class Recorded:
    """ragas's language model, with answers that are written down."""

    def __new__(cls, answers: Sequence[dict[str, Any]]) -> Any:
        from ragas.llms.base import InstructorBaseRagasLLM

        class Judge(InstructorBaseRagasLLM):
            def __init__(self) -> None:
                self.left = list(answers)

            def generate(self, prompt: str, response_model: Any) -> Any:
                raise NotImplementedError

            async def agenerate(self, prompt: str, response_model: Any) -> Any:
                return response_model.model_validate(self.left.pop(0))

        return Judge()


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGAS_DO_NOT_TRACK", "true")


async def ask(name: str, said: object) -> Score | ScoringFailure:
    with OpenAIServer(lambda _: json.dumps(said)) as server:
        async with client(server) as door:
            [row] = await measure(name).score([answered()], context_of(door))
    return row


async def faithfulness_of_ragas(verdicts: Sequence[int]) -> float:
    from ragas.metrics.collections import Faithfulness

    names = [f"s{n}" for n in range(len(verdicts))]
    rows = [
        {"statement": s, "reason": "", "verdict": v} for s, v in zip(names, verdicts, strict=True)
    ]
    llm = Recorded([{"statements": names}, {"statements": rows}])
    found = await Faithfulness(llm=llm).ascore(
        user_input="q", response="r", retrieved_contexts=["c"]
    )
    return float(found.value)


async def recall_of_ragas(verdicts: Sequence[int]) -> float:
    from ragas.metrics.collections import ContextRecall

    rows = [{"statement": "s", "reason": "", "attributed": v} for v in verdicts]
    found = await ContextRecall(llm=Recorded([{"classifications": rows}])).ascore(
        user_input="q", retrieved_contexts=["c"], reference="r"
    )
    return float(found.value)


async def precision_of_ragas(verdicts: Sequence[int]) -> float:
    from ragas.metrics.collections import ContextPrecisionWithReference

    llm = Recorded([{"reason": "", "verdict": v} for v in verdicts])
    found = await ContextPrecisionWithReference(llm=llm).ascore(
        user_input="q", reference="r", retrieved_contexts=["c"] * len(verdicts)
    )
    return float(found.value)


@given(verdicts=VERDICTS)
@settings(max_examples=40)
async def test_shares_are_those_of_ragas(verdicts):
    assert share(verdicts) == pytest.approx(await faithfulness_of_ragas(verdicts))
    assert share(verdicts) == pytest.approx(await recall_of_ragas(verdicts))


@given(verdicts=VERDICTS)
@settings(max_examples=40)
async def test_average_precision_is_that_of_ragas(verdicts):
    assert average_precision(verdicts) == pytest.approx(
        await precision_of_ragas(verdicts), abs=1e-9
    )


@given(
    flags=st.lists(st.integers(0, 1), min_size=3, max_size=3),
    questions=st.lists(
        st.sampled_from(["what is it", QUESTION, "how far"]), min_size=3, max_size=3
    ),
)
@settings(max_examples=40)
async def test_relevancy_is_that_of_ragas(flags, questions):
    from ragas.metrics.collections import AnswerRelevancy

    from tasks.evaluate.measures.ragas_judge import _classes

    embedder = WordEmbedder()
    answers = [{"question": q, "noncommittal": f} for q, f in zip(questions, flags, strict=True)]
    metric = AnswerRelevancy(llm=Recorded(answers), embeddings=_classes()[1](embedder))
    expected = float((await metric.ascore(user_input=QUESTION, response="r")).value)
    vectors = embedder.encode([QUESTION, *questions])
    assert relevancy(vectors[0], vectors[1:], flags) == pytest.approx(expected, abs=1e-6)


def test_no_statement_has_no_share():
    with pytest.raises(NotScored, match="no statement"):
        share([])


@pytest.mark.parametrize(
    ("name", "said", "value"),
    [
        (
            "native_faithfulness",
            {"statements": [{"statement": "a", "verdict": 1}, {"statement": "b", "verdict": 0}]},
            0.5,
        ),
        ("native_context_precision", {"verdicts": [0, 1]}, 0.5),
        ("native_context_recall", {"statements": [{"statement": "a", "attributed": 1}]}, 1.0),
        (
            "native_answer_relevancy",
            {"questions": [{"question": QUESTION, "noncommittal": 0}] * 3},
            1.0,
        ),
    ],
)
async def test_a_judge_is_asked_once_and_its_answer_becomes_the_score(name, said, value):
    row = await ask(name, said)
    assert isinstance(row, Score)
    assert row.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("native_faithfulness", {"statements": [{"statement": "a", "verdict": 2}]}),
        ("native_context_precision", {"verdicts": [0, 2]}),
        ("native_context_recall", {"statements": [{"statement": "a", "attributed": 2}]}),
        ("native_answer_relevancy", {"questions": [{"question": "q", "noncommittal": 2}] * 3}),
    ],
)
async def test_a_verdict_that_is_neither_0_nor_1_is_no_score(name, said):
    row = await ask(name, said)
    assert isinstance(row, ScoringFailure)
    assert row.error_type == "UnreadableJudgement"


@pytest.mark.parametrize(
    ("reading", "answerable_value"), [("answers", 1), ("abstains", 0), ("refuses", 0)]
)
async def test_a_judge_reads_whether_an_answer_gives_none(reading, answerable_value):
    known, unknown = answered(), replace(answered(), case=unanswerable())
    with OpenAIServer(lambda _: json.dumps({"answer": reading})) as server:
        async with client(server) as door:
            chosen = measure("native_abstention")
            rows = await chosen.score([known, unknown], context_of(door))
    assert [row.value for row in rows] == [answerable_value, 1 - answerable_value]
    assert chosen.applies(unknown.case)


async def test_every_measure_of_a_case_begins_with_the_same_long_text():
    with OpenAIServer(lambda _: "{}") as server:
        async with client(server) as door:
            for name in NAMES:
                await measure(name).score([answered()], context_of(door))
        prompts = [body["messages"][0]["content"] for body in server.requests]
    start = prompts[0].index("Answer:")
    assert "USEFUL passage" in prompts[0][:start]
    assert QUESTION in prompts[0][:start]
    assert len({prompt[:start] for prompt in prompts}) == 1


async def test_a_list_of_verdicts_has_one_for_each_passage():
    with OpenAIServer(lambda _: json.dumps({"verdicts": [1, 1, 1]})) as server:
        async with client(server) as door:
            [row] = await measure("native_context_precision").score([answered()], context_of(door))
        schema = server.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["verdicts"]["minItems"] == 2
    assert schema["properties"]["verdicts"]["maxItems"] == 2
    assert isinstance(row, ScoringFailure)
    assert "3 verdicts for 2 passages" in row.message


@pytest.mark.parametrize("name", NAMES)
async def test_what_cannot_be_read_twice_is_a_failure_with_its_text(name):
    with OpenAIServer(lambda _: "no JSON") as server:
        server.faults.append(Text('{"cut": "in the', "length"))
        async with client(server) as door:
            [row] = await measure(name).score([answered()], context_of(door))
    assert isinstance(row, ScoringFailure)
    assert (row.error_type, row.raw) == ("UnreadableJudgement", "no JSON")
    assert len(server.requests) == 2


@pytest.mark.parametrize("name", [*NAMES[:2], "native_abstention"])
async def test_an_empty_answer_is_not_sent(name):
    with OpenAIServer(lambda _: "{}") as server:
        async with client(server) as door:
            [row] = await measure(name).score([answered(text=" ")], context_of(door))
    assert isinstance(row, ScoringFailure)
    assert server.requests == []


def test_vectors_of_any_length_have_the_same_relevancy():
    asked, generated = np.array([1.0, 0.0]), np.array([[3.0, 0.0], [0.0, 2.0]])
    assert relevancy(asked, generated, [0, 1]) == pytest.approx(0.5)
