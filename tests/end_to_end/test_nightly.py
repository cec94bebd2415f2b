"""The product on a real vLLM: a stranger's first evening, in the order in which it happens."""

import time

import pytest

from registry import Registry
from tasks.evaluate.log import load_log

pytestmark = pytest.mark.end_to_end


def champion(ratchet):
    with Registry(None, ratchet.project.home) as registry:
        release = registry.champion()
    return release and release.prompt.name


def evaluations(ratchet):
    room = ratchet.project.home.path("evals")
    return [load_log(path.parent) for path in room.glob("*/manifest.json")]


def test_the_first_release_goes_live_and_a_real_model_has_answered_every_case(ratchet):
    outcome = ratchet.run("nightly", "--release", "configs/baseline.yaml")
    assert (outcome["verdict"], outcome["promoted"]) == ("PROMOTE", True)
    assert champion(ratchet) == "baseline"
    [log] = evaluations(ratchet)
    assert len(log.values("output_tokens")) == len(ratchet.project.cases)
    assert log.manifest.costs["answer"].output_tokens > 0
    # A judge of this size may fail to answer, but what it was asked is a score or a failure.
    for name in ("faithfulness", "judge_accuracy"):
        asked = len(log.values(name)) + len(log.failed(name))
        assert 1 <= asked <= 2


def test_a_better_prompt_is_promoted(ratchet):
    outcome = ratchet.run("nightly")
    assert (outcome["verdict"], outcome["promoted"]) == ("PROMOTE", True)
    assert champion(ratchet) == "answer"


def test_nothing_is_done_when_nothing_changed(ratchet):
    before = ratchet.project.home.path("champion.json").read_bytes()
    outcome = ratchet.run("nightly")
    assert (outcome["verdict"], outcome["promoted"]) == ("UNCHANGED", False)
    assert ratchet.project.home.path("champion.json").read_bytes() == before


def test_a_worse_prompt_is_rejected_and_the_champion_stays(ratchet):
    before = ratchet.project.home.path("champion.json").read_bytes()
    outcome = ratchet.run("nightly", "--release", "configs/baseline.yaml", code=4)
    assert (outcome["verdict"], outcome["promoted"]) == ("REJECT", False)
    assert ratchet.project.home.path("champion.json").read_bytes() == before


def test_the_champion_answers_with_the_passages_that_it_used(ratchet):
    answer = ratchet.run("ask", "Which function gives the k smallest items of an iterable?")
    assert answer["answer"]
    assert "heapq.nsmallest" in [passage["doc_id"] for passage in answer["passages"]]


def test_a_vllm_that_is_killed_while_it_answers_costs_the_run_but_not_the_next_one(ratchet):
    # So few at a time that most calls still have to be sent when it is killed.
    ratchet.project.edit("configs/evaluate.yaml", in_flight=2)
    run = ratchet.start("nightly", "--prompt", "cautious")
    log = ratchet.vllm.daemon.log
    asked = log.read_text(errors="replace").count("POST /v1/chat/completions")
    while run.poll() is None:
        if log.read_text(errors="replace").count("POST /v1/chat/completions") > asked + 2:
            break
        time.sleep(0.1)
    assert run.poll() is None, run.communicate()
    ratchet.vllm.daemon.stop(grace_s=0)
    run.communicate(timeout=600)
    assert run.returncode not in (0, 4)
    assert champion(ratchet) == "answer"

    ratchet.start("nightly", "--prompt", "cautious").communicate(timeout=900)
    [log] = [one for one in evaluations(ratchet) if "cautious" in one.manifest.release_label]
    assert len(log.values("output_tokens")) == len(ratchet.project.cases)
    assert champion(ratchet) in ("answer", "cautious")
