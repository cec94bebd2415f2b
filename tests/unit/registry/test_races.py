"""Promotions that meet another one, or the end of their process."""

import json
import multiprocessing
import os
import random
import signal
import sys

import pytest

from registry import Registry
from registry.verify import verify_ledger
from tasks.digest import text_digest
from tasks.errors import PromotionConflict, RegistryError

FORK = multiprocessing.get_context("fork")


def decide(registry, challenger, champion):
    digest = text_digest(f"{challenger} {champion}")
    registry.record_decision(
        digest, verdict="PROMOTE", challenger=challenger, champion=champion, who="gate"
    )
    return digest


def promote(home, challenger, champion, decision, channel="production"):
    with Registry(None, home) as registry:
        return registry.promote(
            challenger,
            expected_champion=champion,
            decision_digest=decision,
            who=str(os.getpid()),
            why="better",
            channel=channel,
        )


def race(home, start, outcomes, *promotion):
    start.wait()
    try:
        outcomes.put("won" if promote(home, *promotion).changed else "same")
    except PromotionConflict:
        outcomes.put("lost")
    except RegistryError:
        outcomes.put("refused")


def run_all(arguments, home):
    start, outcomes = FORK.Event(), FORK.SimpleQueue()
    racers = [FORK.Process(target=race, args=(home, start, outcomes, *each)) for each in arguments]
    for racer in racers:
        racer.start()
    start.set()
    found = [outcomes.get() for _ in racers]
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0
    return found


@pytest.fixture
def first(registry, releases):
    registry.promote(
        releases[0].digest, expected_champion=None, who="me", why="first", override=True
    )
    return releases[0].digest


@pytest.mark.integration
def test_of_twenty_promotions_at_once_exactly_one_wins(registry, home, first, make_release):
    challengers = [make_release(number) for number in range(10, 30)]
    for challenger in challengers:
        home.path("index", challenger.index_digest).mkdir()
        registry.register(challenger, who="test")
    arguments = [(c.digest, first, decide(registry, c.digest, first)) for c in challengers]
    outcomes = run_all(arguments, home)
    assert sorted(outcomes) == ["lost"] * 19 + ["won"]
    promoted = [event for event in registry.history() if event.kind == "promoted"]
    assert len(promoted) == 2
    assert registry.champion_digest() == promoted[-1].subject
    assert json.loads(registry.view.read_text())["digest"] == promoted[-1].subject


@pytest.mark.integration
def test_promotions_at_once_to_two_channels_have_one_winner_each_and_one_chain(
    registry, home, first, releases
):
    registry.promote(
        first, expected_champion=None, who="me", why="1", override=True, channel="staging"
    )
    arguments = [
        (release.digest, first, decide(registry, release.digest, first), channel)
        for release in releases[1:]
        for channel in ("staging", "production")
    ]
    before = len(registry.history())
    # Staging needs a decision against the champion of that moment: once production has moved,
    # nothing that was decided against the former one goes to staging.
    outcomes = run_all(arguments, home)
    moves = registry.history()[before:]
    assert sum(event.detail["channel"] == "production" for event in moves) == 1
    assert sum(event.detail["channel"] == "staging" for event in moves) <= 1
    assert outcomes.count("won") == len(moves)
    with registry._ledger.reading() as connection:
        found, _ = verify_ledger(registry._ledger, connection)
    assert found.fits, found.misfit


@pytest.mark.integration
def test_the_same_promotion_twenty_times_at_once_is_done_once(registry, home, first, releases):
    challenger = releases[1].digest
    decision = decide(registry, challenger, first)
    outcomes = run_all([(challenger, first, decision)] * 20, home)
    assert sorted(outcomes) == ["same"] * 19 + ["won"]
    assert len([event for event in registry.history() if event.kind == "promoted"]) == 2


def die_at(call, function):
    """Run a function and kill this process, as by `kill -9`, at its n-th Python or C call."""
    count = 0

    def profile(_frame, _kind, _argument):
        nonlocal count
        count += 1
        if count == call:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def count_calls(outcome, *arguments):
    outcome.put(die_at(0, lambda: promote(*arguments)))


@pytest.mark.integration
def test_a_promotion_killed_anywhere_leaves_one_whole_champion(registry, home, releases):
    registry.promote(
        releases[0].digest, expected_champion=None, who="me", why="first", override=True
    )
    outcome = FORK.SimpleQueue()
    arguments = (home, releases[1].digest, releases[0].digest)
    arguments += (decide(registry, *arguments[1:]),)
    child = FORK.Process(target=count_calls, args=(outcome, *arguments))
    child.start()
    calls = outcome.get()
    child.join()

    chance = random.Random(0)
    # Half of the points are in the last tenth, where the commit and the view are.
    points = [chance.randrange(1, calls) for _ in range(8)]
    points += [chance.randrange(calls * 9 // 10, calls) for _ in range(8)]
    before = releases[1].digest
    seen = set()
    for trial, point in enumerate(sorted(points)):
        after = releases[2 + trial % 2].digest
        if after == before:
            after = releases[1].digest
        decision = text_digest(f"trial {trial}")
        registry.record_decision(
            decision, verdict="PROMOTE", challenger=after, champion=before, who="gate"
        )
        arguments = (home, after, before, decision)
        child = FORK.Process(target=die_at, args=(point, lambda args=arguments: promote(*args)))
        child.start()
        child.join()
        assert child.exitcode in (-signal.SIGKILL, 0)

        with Registry(None, home) as opened:
            champion = opened.champion()
            assert champion.digest in (before, after)
            assert json.loads(opened.view.read_text())["release"] == champion.model_dump(
                mode="json"
            )
            seen.add(champion.digest == after)
        again = promote(*arguments)
        assert again.changed == (champion.digest == before)
        with Registry(None, home) as opened:
            assert opened.champion_digest() == after
            moves = [e for e in opened.history() if e.detail.get("decision") == decision]
            assert len(moves) == 1
        before = after
    assert seen == {True, False}
