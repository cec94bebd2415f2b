import json
from pathlib import Path

import pytest

from tasks.answer.prompt import load_prompt
from tasks.config import GeneratorModel, Judge, Price
from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import MeasureContext, Score, ScoringFailure
from tasks.evaluate.measures.rubric import NO_REFERENCE, RUBRIC_VARIABLES
from tasks.serve.client import ModelClient
from tasks.serve.version import model_version
from tests.cases import case, result, unanswerable
from tests.servers import OpenAIServer, Status, Text

NAMES = ("judge_accuracy", "judge_completeness", "judge_clarity")
PROMPT = Path(__file__).parents[4] / "configs" / "prompts" / "judge_rubric.yaml"
PRICE = Price(machine_hour=1.0)


def marks(body: dict) -> str:
    assert body["response_format"]["json_schema"]["schema"]["required"] == [
        "accuracy",
        "completeness",
        "clarity",
    ]
    return json.dumps({"accuracy": 4, "completeness": 2, "clarity": 5})


def client(server: OpenAIServer) -> ModelClient:
    settings = GeneratorModel(format="endpoint", context_length=2048, price=PRICE)
    return ModelClient(server.url, model_version("tiny", settings), PRICE, cache=None, attempts=1)


def context_of(door: ModelClient) -> MeasureContext:
    return MeasureContext(
        client=door,
        judge=Judge(model="tiny", max_tokens=50),
        judge_prompt=load_prompt(PROMPT, variables=RUBRIC_VARIABLES),
    )


async def test_one_call_a_case_gives_three_marks() -> None:
    results = [result(of=case("c1")), result("other", of=case("c2"))]
    with OpenAIServer(marks) as server:
        async with client(server) as door:
            context = context_of(door)
            values = {
                name: [row.value for row in await measure(name).score(results, context)]
                for name in NAMES
            }
    assert list(values.values()) == [[4, 4], [2, 2], [5, 5]]
    assert len(server.requests) == 2
    assert server.requests[0]["max_tokens"] == 50


async def test_the_judge_reads_question_reference_and_answer() -> None:
    with OpenAIServer(marks) as server:
        async with client(server) as door:
            await measure("judge_clarity").score([result("my {{ answer }}")], context_of(door))
    prompt = server.requests[0]["messages"][-1]["content"]
    assert case().question in prompt
    assert case().reference in prompt
    assert "my {{ answer }}" in prompt


async def test_without_an_answer_in_the_corpus_the_reference_is_to_say_so() -> None:
    with OpenAIServer(marks) as server:
        async with client(server) as door:
            await measure("judge_accuracy").score(
                [result("x", of=unanswerable())], context_of(door)
            )
    assert NO_REFERENCE in server.requests[0]["messages"][-1]["content"]


@pytest.mark.parametrize(
    "text",
    ["5", '{"accuracy": 6, "completeness": 1, "clarity": 1}', '{"accuracy": 3}', "", "Great!"],
)
async def test_marks_that_cannot_be_read_fail_all_three(text: str) -> None:
    with OpenAIServer(marks) as server:
        server.faults.extend([Text(text), Text(text)])
        async with client(server) as door:
            context = context_of(door)
            rows = [row for name in NAMES for row in await measure(name).score([result()], context)]
    assert [(row.measure, row.error_type, row.raw) for row in rows] == [
        (name, "UnreadableJudgement", text) for name in NAMES
    ]
    assert len(server.requests) == 2


async def test_marks_that_cannot_be_read_are_asked_for_once_more_with_what_is_wrong() -> None:
    with OpenAIServer(marks) as server:
        server.faults.append(Text("Great!"))
        async with client(server) as door:
            rows = await measure(NAMES[0]).score([result()], context_of(door))
    assert isinstance(rows[0], Score)
    first, second = (body["messages"] for body in server.requests)
    assert second[: len(first)] == first
    assert second[-2] == {"role": "assistant", "content": "Great!"}
    assert "can't be read" in second[-1]["content"]


async def test_a_failed_call_fails_its_case_alone() -> None:
    with OpenAIServer(marks) as server:
        server.faults.append(Status(500))
        async with client(server) as door:
            rows = await measure("judge_accuracy").score(
                [result(of=case("c1")), result("other", of=case("c2"))], context_of(door)
            )
    assert {type(row) for row in rows} == {Score, ScoringFailure}
