"""ragas's measures, on a judge whose answers are written down here."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.config import GeneratorModel, Judge, Price
from tasks.errors import TooManyFailures
from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import CaseResult, MeasureContext, Score, ScoringFailure
from tasks.evaluate.measures.schema import closed_schema, form_schema
from tasks.serve.client import ModelClient
from tasks.serve.transport import Backoff
from tasks.serve.version import model_version
from tests.cases import case, chunk, result
from tests.servers import OpenAIServer, Status, Text

QUESTION = "Which function gives the n smallest elements?"
STATEMENTS = ["nsmallest gives the smallest.", "nsmallest sorts in place."]
RECORDED = {
    "StatementGeneratorOutput": {"statements": STATEMENTS},
    "NLIStatementOutput": {
        "statements": [
            {"statement": STATEMENTS[0], "reason": "It is said.", "verdict": 1},
            {"statement": STATEMENTS[1], "reason": "It is not.", "verdict": 0},
        ]
    },
    "AnswerRelevanceOutput": {"question": QUESTION, "noncommittal": 0},
    "ContextPrecisionOutput": {"reason": "It is not about this.", "verdict": 0},
    "ContextRecallOutput": {
        "classifications": [
            {"statement": f"statement {n}", "reason": "see there", "attributed": attributed}
            for n, attributed in enumerate([1, 1, 0])
        ]
    },
}
NAMES = ("faithfulness", "answer_relevancy", "context_precision", "context_recall")


def judge(body: dict[str, Any]) -> str:
    """Answers by what ragas's prompt asks for."""
    prompt = body["messages"][-1]["content"]
    [kind] = [name for name in RECORDED if f'"title": "{name}"' in prompt]
    if kind == "ContextPrecisionOutput" and "USEFUL" in prompt:
        return json.dumps({"reason": "It is.", "verdict": 1})
    return json.dumps(RECORDED[kind])


class WordEmbedder:
    """Counts words in a few buckets; a real embedder as far as likeness goes."""

    name = "words"
    digest = "0" * 64
    dimensions = 64

    def encode(self, texts: Sequence[str], *, progress: Any = None) -> np.ndarray:
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.split():
                row[sum(word.encode()) % self.dimensions] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def client(server: OpenAIServer) -> ModelClient:
    price = Price(machine_hour=1.0)
    settings = GeneratorModel(format="endpoint", context_length=2048, price=price)
    return ModelClient(
        server.url,
        model_version("tiny", settings),
        price,
        cache=None,
        attempts=2,
        backoff=Backoff(first_s=0.001, longest_s=0.002),
    )


@pytest.fixture
async def context() -> AsyncIterator[MeasureContext]:
    with OpenAIServer(judge) as server:
        async with client(server) as door:
            yield context_of(door)


def context_of(door: ModelClient) -> MeasureContext:
    return MeasureContext(
        client=door, judge=Judge(model="tiny", max_tokens=300), embedder=WordEmbedder()
    )


def answered(case_id: str = "c1", text: str = "Use heapq.nsmallest.") -> CaseResult:
    chunks = (chunk(text="noise", rank=1), chunk(text="USEFUL passage", start=20, end=34, rank=2))
    return result(text, of=case(case_id, question=QUESTION), retrieved=chunks)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("faithfulness", 1 / 2),
        ("answer_relevancy", 1.0),
        ("context_precision", 1 / 2),
        ("context_recall", 2 / 3),
    ],
)
async def test_ragas_scores_what_the_judge_says(
    context: MeasureContext, name: str, expected: float
) -> None:
    rows = await measure(name).score([answered("c1"), answered("c2")], context)
    assert [row.case_id for row in rows] == ["c1", "c2"]
    assert [row.value for row in rows] == pytest.approx([expected] * 2, abs=1e-6)


@pytest.mark.filterwarnings("ignore:FUNCTIONS is deprecated")  # instructor, inside ragas
async def test_the_score_is_the_one_that_ragas_gives_by_itself(
    context: MeasureContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [ours] = await measure("faithfulness").score([answered()], context)
    # ragas notes an id of its user below the home directory, whether or not it reports it.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    from ragas.llms import llm_factory
    from ragas.metrics.collections import Faithfulness

    llm = llm_factory("tiny", client=context.client.openai("judge"))
    theirs = await Faithfulness(llm=llm).ascore(
        user_input=QUESTION,
        response="Use heapq.nsmallest.",
        retrieved_contexts=["noise", "USEFUL passage"],
    )
    assert ours.value == theirs.value
    assert context.client.meter.totals()["judge"].calls == 4


async def test_a_judge_is_held_to_the_schema_and_its_own_limit() -> None:
    with OpenAIServer(judge) as server:
        async with client(server) as door:
            await measure("faithfulness").score([answered()], context_of(door))
    for body, name in zip(
        server.requests, ("StatementGeneratorOutput", "NLIStatementOutput"), strict=True
    ):
        assert body["response_format"]["json_schema"]["name"] == name
        assert body["max_tokens"] == 300


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "said", [Text("no JSON at all"), Text('{"statements": ["cut', "length"), Text(""), Text("{}")]
)
async def test_what_cannot_be_read_is_a_failure_with_its_text(name: str, said: Text) -> None:
    with OpenAIServer(judge) as server:
        # Asked again with what was wrong, the judge says the same.
        server.faults.extend([said, said])
        async with client(server) as door:
            [row] = await measure(name).score([answered()], context_of(door))
    assert isinstance(row, ScoringFailure)
    assert (row.case_id, row.measure, row.error_type) == ("c1", name, "UnreadableJudgement")
    assert row.raw == said.text
    assert ("max_tokens" in row.message) == (said.finish_reason == "length")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("faithfulness", {"statements": []}),
        ("context_recall", {"classifications": []}),
        ("context_recall", {"classifications": [{"statement": "", "reason": "", "attributed": 5}]}),
    ],
)
async def test_a_value_that_is_none_is_a_failure_and_never_nan(name: str, said: object) -> None:
    with OpenAIServer(lambda _: json.dumps(said)) as server:
        async with client(server) as door:
            [row] = await measure(name).score([answered()], context_of(door))
    assert isinstance(row, ScoringFailure)
    assert row.error_type == "NoValue"


@pytest.mark.parametrize("name", ["faithfulness", "answer_relevancy"])
async def test_an_empty_answer_is_refused_by_ragas(context: MeasureContext, name: str) -> None:
    [row] = await measure(name).score([answered(text="")], context)
    assert isinstance(row, ScoringFailure)
    assert row.error_type == "RefusedByRagas"


async def test_a_failed_call_fails_its_case_alone() -> None:
    with OpenAIServer(judge) as server:
        server.faults.append(Status(400))
        async with client(server) as door:
            rows = await measure("context_recall").score(
                [answered("c1"), answered("c2")], context_of(door)
            )
    assert sorted(type(row).__name__ for row in rows) == ["Score", "ScoringFailure"]
    [failure] = [row for row in rows if isinstance(row, ScoringFailure)]
    assert failure.error_type == "CallFailed"


async def test_a_judge_that_is_gone_ends_the_evaluation() -> None:
    with OpenAIServer(judge) as server:
        async with client(server) as door:
            server.stop()
            with pytest.raises(TooManyFailures):
                await measure("context_recall").score(
                    [answered(f"c{n}") for n in range(40)], context_of(door)
                )


async def test_the_passages_are_judged_also_when_the_answer_failed(context: MeasureContext) -> None:
    failed = result(None, of=case(question=QUESTION), retrieved=answered().retrieved)
    [row] = await measure("context_recall").score([failed], context)
    assert isinstance(row, Score)
    [row] = await measure("faithfulness").score([failed], context)
    assert row == ScoringFailure("c1", "faithfulness", "CallFailed", "no answer within 1 s", None)


def test_the_schema_of_a_form_is_written_once_for_each_number_of_entries() -> None:
    from ragas.metrics.collections.faithfulness.util import NLIStatementOutput

    whole, three = form_schema(NLIStatementOutput), form_schema(NLIStatementOutput, 3)
    assert whole == closed_schema(NLIStatementOutput.model_json_schema())
    assert form_schema(NLIStatementOutput) is whole
    (entries,) = (part for part in three["properties"].values() if part["type"] == "array")
    assert (entries["minItems"], entries["maxItems"]) == (3, 3)


def test_a_closed_schema_bounds_lists_texts_and_verdicts() -> None:
    from ragas.metrics.collections.faithfulness.util import NLIStatementOutput

    closed = closed_schema(NLIStatementOutput.model_json_schema(), items=5, characters=50)
    statement = closed["$defs"]["StatementFaithfulnessAnswer"]
    assert statement["properties"]["reason"]["maxLength"] == 50
    assert statement["properties"]["verdict"]["enum"] == [0, 1]
    assert statement["required"] == ["statement", "reason", "verdict"]
    assert not statement["additionalProperties"]
    assert closed["properties"]["statements"]["maxItems"] == 5
    assert closed["properties"]["statements"]["items"] == {
        "$ref": "#/$defs/StatementFaithfulnessAnswer"
    }
