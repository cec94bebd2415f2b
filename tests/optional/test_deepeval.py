"""deepeval's metrics on a judge whose answers are written down here; needs deepeval."""

import json
import os
import socket
from typing import Any

import pytest

from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import Score, ScoringFailure
from tasks.evaluate.measures.deepeval_judge import DEEPEVAL
from tasks.evaluate.measures.native_judge import average_precision, share
from tests.servers import OpenAIServer, Status
from tests.unit.evaluate.measures.test_ragas import answered, client, context_of

pytestmark = pytest.mark.filterwarnings("ignore:.*now scores in the same direction")
RECORDED: dict[frozenset[str], dict[str, Any]] = {
    frozenset({"statements"}): {"statements": ["a", "b"]},
    frozenset({"truths"}): {"truths": ["t"]},
    frozenset({"claims"}): {"claims": ["a", "b"]},
    frozenset({"opinions"}): {"opinions": ["a", "b"]},
}
"""What is extracted first, by the fields of the schema."""


def judge(verdicts: list[str]):
    """Answers by the schema that deepeval asks for."""

    def respond(body: dict[str, Any]) -> str:
        fields = frozenset(body["response_format"]["json_schema"]["schema"]["properties"])
        if fields != {"verdicts"}:
            return json.dumps(RECORDED[fields])
        rows = [{"verdict": said, "reason": "r", "statement": "s"} for said in verdicts]
        return json.dumps({"verdicts": rows})

    return respond


async def ask(name: str, respond, *, faults=()) -> tuple[Score | ScoringFailure, list[Any]]:
    with OpenAIServer(respond) as server:
        server.faults.extend(faults)
        async with client(server) as door:
            [row] = await measure(name).score([answered()], context_of(door))
    return row, server.requests


@pytest.mark.parametrize(
    ("name", "verdicts", "expected", "calls"),
    [
        ("answer_relevancy", ["yes", "no"], 1 / 2, 2),
        ("faithfulness", ["yes", "no"], 1 / 2, 3),
        ("contextual_precision", ["no", "yes"], 1 / 2, 1),
        ("contextual_recall", ["yes", "no", "yes", "yes"], 3 / 4, 1),
        ("contextual_relevancy", ["yes", "no"], 1 / 2, 2),
        ("bias", ["no", "yes"], 1 / 2, 2),
        ("toxicity", ["no", "no"], 1, 2),
    ],
)
async def test_deepeval_scores_what_our_judge_says(name, verdicts, expected, calls):
    row, requests = await ask(f"deepeval_{name}", judge(verdicts))
    assert row == Score("c1", f"deepeval_{name}", expected)
    assert len(requests) == calls


def test_every_metric_is_tried_above():
    [tried] = [
        mark.args[1]
        for mark in test_deepeval_scores_what_our_judge_says.pytestmark
        if mark.name == "parametrize"
    ]
    assert [f"deepeval_{row[0]}" for row in tried] == [each.name for each in DEEPEVAL]


@pytest.mark.parametrize("verdicts", [[1], [0], [1, 0], [0, 1], [0, 0, 1, 1, 0, 1]])
async def test_native_formulas_are_those_of_deepeval_too(verdicts):
    said = judge(["yes" if verdict else "no" for verdict in verdicts])
    for name in ("faithfulness", "contextual_recall"):
        row, _ = await ask(f"deepeval_{name}", said)
        assert row.value == pytest.approx(share(verdicts))
    row, _ = await ask("deepeval_contextual_precision", said)
    assert row.value == pytest.approx(average_precision(verdicts))


async def test_nothing_is_sent_but_to_the_judge(monkeypatch):
    real, reached = socket.socket.connect, []

    def connect(self, address):
        reached.append(address)
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    row, requests = await ask("deepeval_answer_relevancy", judge(["yes", "yes"]))
    assert isinstance(row, Score)
    assert len(requests) == 2
    assert {address[0] for address in reached if isinstance(address, tuple)} <= {"127.0.0.1"}
    assert os.environ["DEEPEVAL_TELEMETRY_OPT_OUT"] == "1"


async def test_an_answer_that_cannot_be_read_and_a_lost_call_are_failures():
    row, requests = await ask("deepeval_contextual_recall", lambda _: "no JSON")
    assert isinstance(row, ScoringFailure)
    assert (row.error_type, row.raw) == ("UnreadableJudgement", "no JSON")
    assert len(requests) == 2
    row, _ = await ask("deepeval_faithfulness", judge(["yes"]), faults=[Status(400)] * 4)
    assert isinstance(row, ScoringFailure)
    assert row.error_type == "CallFailed"
