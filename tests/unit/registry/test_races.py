"""Promotions that meet another one, or the end of their process."""

import json
import os
import random
import signal
import sys

import pytest

from registry import Registry
from registry.verify import verify_ledger
from tasks.digest import text_digest
from tasks.errors import PromotionConflict, RatchetError, RegistryError
from tests.processes import FORK, Child


def decide(registry, challenger, champion):
    digest = text_digest(f"{challenger} {champion}")
    registry.record_decision(
        digest, verdict="PROMOTE", challenger=challenger, champion=champion, who="gate"
    )
    return digest


def promote(url, home, challenger, champion, decision, channel="production"):
    with Registry(url, home) as registry:
        return registry.promote(
            challenger,
            expected_champion=champion,
            decision_digest=decision,
            who=str(os.getpid()),
            why="better",
            channel=channel,
        )


def roll_back(url, home, target):
    with Registry(url, home) as registry:
        return registry.rollback(target, who=str(os.getpid()), why="worse")


def race(url, home, start, outcomes, *promotion):
    start.wait()
    try:
        outcomes.put("won" if promote(url, home, *promotion).changed else "same")
    except PromotionConflict:
        outcomes.put("lost")
    except RegistryError:
        outcomes.put("refused")
    except RatchetError as error:
        outcomes.put(f"failed: {error.message}")


def run_all(arguments, url, home):
    start, outcomes = FORK.Event(), FORK.SimpleQueue()
    racers = [Child(target=race, args=(url, home, start, outcomes, *each)) for each in arguments]
    for racer in racers:
        racer.start()
    start.set()
    found = [outcomes.get() for _ in racers]
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0
    return found


def require_whole_ledger(registry):
    with registry._ledger.reading() as connection:
        found, _ = verify_ledger(registry._ledger, connection)
    assert found.fits, found.misfit


@pytest.fixture
def first(registry, releases):
    registry.promote(
        releases[0].digest, expected_champion=None, who="me", why="first", override=True
    )
    return releases[0].digest


@pytest.mark.integration
def test_of_a_hundred_promotions_at_once_exactly_one_wins(registry, home, url, first, make_release):
    challengers = [make_release(number) for number in range(10, 110)]
    for challenger in challengers:
        home.path("index", challenger.index_digest).mkdir()
        registry.register(challenger, who="test")
    arguments = [(c.digest, first, decide(registry, c.digest, first)) for c in challengers]
    outcomes = run_all(arguments, url, home)
    assert sorted(outcomes) == ["lost"] * 99 + ["won"]
    promoted = [event for event in registry.history() if event.kind == "promoted"]
    assert len(promoted) == 2
    assert registry.champion_digest() == promoted[-1].subject
    assert json.loads(registry.view.read_text())["digest"] == promoted[-1].subject


@pytest.mark.integration
def test_promotions_at_once_to_two_channels_have_one_winner_each_and_one_chain(
    registry, home, url, first, releases
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
    outcomes = run_all(arguments, url, home)
    moves = registry.history()[before:]
    assert sum(event.detail["channel"] == "production" for event in moves) == 1
    assert sum(event.detail["channel"] == "staging" for event in moves) <= 1
    assert outcomes.count("won") == len(moves)
    require_whole_ledger(registry)


@pytest.mark.integration
def test_the_same_promotion_twenty_times_at_once_is_done_once(registry, home, url, first, releases):
    challenger = releases[1].digest
    decision = decide(registry, challenger, first)
    outcomes = run_all([(challenger, first, decision)] * 20, url, home)
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


MOVES = 40


@pytest.mark.integration
def test_whoever_reads_while_others_promote_sees_one_state(registry, home, url, first, releases):
    before = len(registry.history())
    digests = [release.digest for release in releases]
    moving = Child(target=move_often, args=(url, home, digests))
    moving.start()
    while moving.is_alive():
        require_whole_ledger(registry)
    moving.join()
    assert moving.exitcode == 0
    assert len(registry.history()) == before + MOVES


def move_often(url, home, digests):
    with Registry(url, home) as registry:
        for move in range(1, MOVES + 1):
            registry.promote(
                digests[move % len(digests)],
                expected_champion=digests[(move - 1) % len(digests)],
                who="me",
                why="x",
                override=True,
            )


KILLS = 100


@pytest.mark.integration
@pytest.mark.parametrize("what", ["promotion", "rollback"])
def test_a_move_killed_anywhere_leaves_one_whole_champion(registry, home, url, releases, what):
    digests = [release.digest for release in releases]
    for digest in digests:
        registry.promote(
            digest,
            expected_champion=registry.champion_digest(),
            who="me",
            why="first",
            override=True,
        )
    before = digests[-1]

    def prepare(trial):
        """The next move, as a function of nothing, and where it goes."""
        after = digests[trial % 3] if digests[trial % 3] != before else digests[3]
        if what == "rollback":
            return after, lambda: roll_back(url, home, after)
        decision = text_digest(f"trial {trial}")
        registry.record_decision(
            decision, verdict="PROMOTE", challenger=after, champion=before, who="gate"
        )
        return after, lambda: promote(url, home, after, before, decision)

    after, move = prepare(0)
    calls, before = die_at(0, move), after
    chance = random.Random(0)
    kills, trial, seen = 0, 0, set()
    while kills < KILLS:
        trial += 1
        after, move = prepare(trial)
        length = len(registry.history())
        # Half of the points are in the last quarter, where the commit and the view are.
        share = chance.random() if trial % 2 else 0.75 + 0.25 * chance.random()
        child = Child(target=die_at, args=(1 + int(share * calls), move))
        child.start()
        child.join()
        assert child.exitcode in (-signal.SIGKILL, 0)
        kills += child.exitcode != 0
        with registry._ledger.writing():
            # A server may still be about to keep what the dead process asked it to keep.
            pass
        with Registry(url, home) as opened:
            champion = opened.champion()
            assert champion.digest in (before, after)
            view = json.loads(opened.view.read_text())
            assert view["release"] == champion.model_dump(mode="json")
            require_whole_ledger(opened)
            moved = champion.digest == after
            assert len(opened.history()) == length + moved
        seen.add(moved)
        again = die_at(0, move)
        if not moved:
            # It takes longer with each event.
            calls = again
        assert registry.champion_digest() == after
        assert len(registry.history()) == length + 1
        before = after
    assert seen == {True, False}
