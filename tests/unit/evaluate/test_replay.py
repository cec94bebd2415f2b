import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.config import Price
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import load_calls, save_log
from tasks.evaluate.replay import Replay, replay
from tasks.evaluate.run import EvaluationPlan
from tasks.serve.client import ModelClient
from tests.servers import OpenAIServer
from tests.unit.evaluate.test_run import run


def again(directory: Path, plan: EvaluationPlan, server: OpenAIServer) -> Replay:
    async def work() -> Replay:
        model = plan.release.model
        price = Price(input_per_million=1.0, output_per_million=2.0)
        async with ModelClient(server.url, model, price, cache=None) as door:
            return await replay(load_calls(directory), {model.digest: door}, lambda *_: None)

    return asyncio.run(work())


@pytest.fixture
def stored(plan, server, index, tmp_path) -> Path:
    return save_log(run(plan(), server, index), tmp_path)


def test_a_log_has_every_call_as_it_was_sent_by_case(stored, server):
    calls = load_calls(stored)
    sent = {json.dumps(body, sort_keys=True) for body in server.requests}
    assert {json.dumps(dict(call.body), sort_keys=True) for call in calls} == sent
    assert [call.position for call in calls] == sorted(call.position for call in calls)
    assert {call.purpose for call in calls} == {"answer", "judge"}


def test_the_same_server_says_the_same_and_is_really_asked(stored, plan, server):
    before = len(server.requests)
    found = again(stored, plan(), server)
    assert (found.equal, found.first) == (found.calls, None)
    assert len(server.requests) - before == found.calls
    old, new = (
        [json.dumps(body) for body in part]
        for part in (server.requests[:before], server.requests[before:])
    )
    assert sorted(old) == sorted(new)


def test_the_first_call_that_differs_is_named_with_the_place_where_it_does(stored, plan, server):
    honest = server.respond

    def changed(body: dict[str, Any]) -> str | None:
        said = honest(body)
        asked = body["messages"][-1]["content"].split("\n\n")[-1]
        return said.replace("days", "years") if "cheese" in asked and said else said

    server.respond = changed
    found = again(stored, plan(), server)
    assert found.first is not None
    assert 0 < found.first.number <= found.calls
    assert found.first.call.text == "It lasts 6 days."
    assert found.first.text == "It lasts 6 years."
    assert found.first.at == len("It lasts 6 ")
    assert found.equal == found.calls - len(found.differences)


def test_a_log_without_its_calls_is_refused(stored):
    (stored / "calls.parquet").unlink()
    with pytest.raises(CorruptArtifact, match="can't be read"):
        load_calls(stored)
