"""`kill -9` anywhere in an evaluation: nothing that was answered is asked again."""
# ruff: noqa: F811  (fixtures of another room's tests, which pytest finds by their names)

import multiprocessing
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.stub.engine import Speed
from benchmarks.stub.server import StubServer
from tasks.evaluate.log import load_calls, load_log
from tasks.evaluate.run import EvaluationPlan
from tasks.evaluate.suite import Suite
from tasks.serve.cache import CallCache, call_key
from tests.integration.killed import run
from tests.unit.evaluate.conftest import (  # noqa: F401  (fixtures)
    index,
    index_directory,
    plan,
    release,
    suite,
)

pytestmark = pytest.mark.integration

KILLS = 100
PATH = "/v1/chat/completions"
REPEATED = ("manifest.json", "cases.parquet", "scores.parquet", "failures.parquet", "calls.parquet")
# Slow enough that a run lasts for many kills, and answers at many different moments.
SPEED = Speed(prefill_tokens_s=1e6, decode_tokens_s=6_000.0, step_s=0.0005, max_num_seqs=8)


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Processes that have imported everything already, so that a kill hits the work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.killed"])
    return context


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(SPEED, models=("tiny",)) as running:
        yield running


@pytest.fixture
def long_plan(plan, suite) -> EvaluationPlan:
    cases = tuple(
        replace(each, case_id=f"{each.case_id}-{turn}", question=f"{each.question} ({turn})")
        for turn in range(40)
        for each in suite.cases
    )
    measures = ("R@2", "contains", "token_f1", "judge_accuracy", "latency_s", "cost")
    return plan(suite=Suite("long", cases), measures=measures)


def kept(cache: Path) -> set[str]:
    with CallCache(cache) as calls:
        return set(calls.keys())


def test_a_hundred_kills_lose_no_answer_and_leave_the_bytes_of_an_undisturbed_run(
    processes, long_plan, index_directory, server, tmp_path
):
    whole = tmp_path / "whole"
    run(long_plan, index_directory, server.url, tmp_path / "other cache", whole)
    asked_whole = len(server.requests)

    cache, room = tmp_path / "cache", tmp_path / "room"
    draw = random.Random(6)
    kills = finished = 0
    while kills < KILLS:
        before = kept(cache)
        sent = len(server.requests)
        process = processes.Process(
            target=run, args=(long_plan, index_directory, server.url, cache, room)
        )
        process.start()
        # Before the first call, among them, or in the middle of keeping an answer.
        wanted = server.answered + draw.randint(0, 8)
        later = draw.choice([0.0, 0.001, 0.004, 0.02])
        while process.is_alive() and server.answered < wanted:
            time.sleep(0.0005)
        time.sleep(later)
        process.kill()
        process.join()
        kills += 1
        again = {
            call_key(long_plan.release.model.digest, PATH, body, 0)
            for body in server.requests[sent:]
        }
        assert not again & before
        if list(room.glob("[!.]*/manifest.json")):
            finished += 1
            break

    sent, before = len(server.requests), kept(cache)
    run(long_plan, index_directory, server.url, cache, room)
    assert len(server.requests) - sent == (0 if finished else asked_whole - len(before))
    first, second = (place / long_plan.digest for place in (whole, room))
    assert {name: (first / name).read_bytes() for name in REPEATED} == {
        name: (second / name).read_bytes() for name in REPEATED
    }
    assert len(load_calls(second)) == asked_whole
    assert load_log(second).failures == ()
    assert not finished, f"the run was over after {kills} kills: it must last longer"
    # How many depends on the machine: a kill may be faster than what was answered is kept.
    assert before
