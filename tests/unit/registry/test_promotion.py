"""What a promotion needs: the right decision, committed code, and staging first where wanted."""

import json

import pytest

from registry import PromotionRules, Registry
from registry.ledger import CHANNELS
from tasks.digest import text_digest
from tasks.errors import PromotionConflict, RegistryError

SUITE, POLICY = text_digest("suite"), text_digest("policy")


def decide(registry, challenger, champion=None, *, commit="c" * 40, dirty=False):
    before = champion and champion.digest
    digest = text_digest(f"{challenger.digest} {before}")
    registry.record_decision(
        digest,
        verdict="PROMOTE",
        challenger=challenger.digest,
        champion=before,
        who="gate",
        suite=SUITE,
        policy=POLICY,
        git_commit=commit,
        git_dirty=dirty,
    )
    return digest


def promote(registry, challenger, expected=None, decision=None, **options):
    return registry.promote(
        challenger.digest,
        expected_champion=expected and expected.digest,
        decision_digest=decision,
        who="me",
        why="better",
        **options,
    )


@pytest.fixture
def strict(registry, home, url):
    """The same registry where decisions must come from committed code."""
    return Registry(url, home, rules=PromotionRules(require_clean=True))


@pytest.fixture
def staged(registry, home, url):
    """The same registry where production takes only what staging runs."""
    return Registry(url, home, rules=PromotionRules(production_from_staging=True))


def test_a_decision_holds_its_suite_its_policy_and_the_code_behind_it(registry, releases):
    decision = decide(registry, releases[0], dirty=True)
    event = registry.history()[-1]
    assert event.subject == decision
    assert (event.detail["suite"], event.detail["policy"]) == (SUITE, POLICY)
    assert (event.detail["git_commit"], event.detail["git_dirty"]) == ("c" * 40, True)


def test_a_decision_for_exactly_this_suite_and_policy_promotes(registry, releases):
    decision = decide(registry, releases[0])
    assert promote(registry, releases[0], None, decision, suite=SUITE, policy=POLICY).changed


@pytest.mark.parametrize("what", ["suite", "policy"])
def test_a_decision_with_another_suite_or_policy_is_refused(registry, releases, what):
    decision = decide(registry, releases[0])
    with pytest.raises(RegistryError, match=f"was made with {what} '.*', expected '.*'"):
        promote(registry, releases[0], None, decision, **{what: text_digest("another")})
    assert registry.champion() is None


@pytest.mark.parametrize("what", ["suite", "policy"])
def test_the_same_decision_about_another_suite_or_policy_is_refused(registry, releases, what):
    decision = decide(registry, releases[0])
    options = {"suite": SUITE, "policy": POLICY} | {what: text_digest("another")}
    with pytest.raises(RegistryError, match="was decided before with"):
        registry.record_decision(
            decision,
            verdict="PROMOTE",
            challenger=releases[0].digest,
            champion=None,
            who="gate",
            **options,
        )


@pytest.mark.parametrize(
    ("commit", "dirty", "words"),
    [
        ("c" * 40, True, "commit cccccccccccc with changes that weren't committed"),
        ("c" * 40, None, "commit cccccccccccc;"),
        (None, None, "no commit;"),
    ],
)
def test_code_that_nobody_can_find_again_promotes_only_where_that_is_allowed(
    registry, strict, releases, commit, dirty, words
):
    decision = decide(registry, releases[0], commit=commit, dirty=dirty)
    with pytest.raises(RegistryError, match=words):
        promote(strict, releases[0], None, decision)
    assert registry.champion() is None
    assert promote(registry, releases[0], None, decision).changed


def test_committed_code_promotes_where_it_is_required(strict, releases):
    assert promote(strict, releases[0], None, decide(strict, releases[0])).changed


def test_an_override_needs_no_commit_and_is_recorded(strict, releases):
    move = promote(strict, releases[0], override=True)
    assert (move.event.detail["override"], move.event.detail["decision"]) == (True, None)


def test_a_decision_that_was_made_again_on_committed_code_counts_as_such(strict, releases):
    decision = decide(strict, releases[0], dirty=True)
    decide(strict, releases[0], dirty=True)
    assert decide(strict, releases[0]) == decision
    assert [e.detail["git_dirty"] for e in strict.history() if e.kind == "decided"] == [True, False]
    assert promote(strict, releases[0], None, decision).changed


def test_channels_move_apart_and_only_production_is_the_champion(registry, releases):
    move = promote(registry, releases[0], channel="staging", override=True)
    assert move.message == f"{releases[0].label} is on staging now."
    assert registry.champion() is None
    assert not registry.view.exists()
    assert registry.resolve("staging") == releases[0].digest
    promote(registry, releases[1], override=True)
    assert registry.resolve("champion") == registry.resolve("production") == releases[1].digest
    assert json.loads(registry.view.read_text())["digest"] == releases[1].digest
    assert [row.staging for row in registry.releases()] == [True, False, False, False]
    assert registry.previous_digest() is None
    assert registry.anchor() == releases[1]


def test_an_empty_channel_has_no_release(registry):
    with pytest.raises(RegistryError, match="no release on staging yet"):
        registry.resolve("staging")
    with pytest.raises(RegistryError, match="no release on production yet"):
        registry.resolve("production")


def test_each_channel_goes_back_along_its_own_line(registry, releases):
    for channel, line in (("staging", (0, 1, 2)), ("production", (3, 1))):
        before = None
        for number in line:
            promote(registry, releases[number], before, channel=channel, override=True)
            before = releases[number]
    assert registry.rollback(who="me", why="bad", channel="staging").champion == releases[1].digest
    assert registry.champion() == releases[1]
    assert registry.last_rollback_from(releases[2].digest) is None
    assert registry.rollback(who="me", why="bad").champion == releases[3].digest
    with pytest.raises(RegistryError, match="never was on staging"):
        registry.rollback(releases[3].digest, who="me", why="x", channel="staging")
    registry.rollback(who="me", why="bad", channel="staging")
    with pytest.raises(RegistryError, match="no earlier release on staging"):
        registry.rollback(who="me", why="bad", channel="staging")
    assert registry.verify().misfit.thing == "index"  # these have no content; the ledger fits


def test_one_decision_against_the_champion_serves_staging_and_then_production(
    registry, staged, releases
):
    promote(registry, releases[0], override=True)
    decision = decide(registry, releases[1], releases[0])
    with pytest.raises(RegistryError, match="Staging runs none, not"):
        promote(staged, releases[1], releases[0], decision)
    assert promote(staged, releases[1], None, decision, channel="staging").changed
    assert not promote(staged, releases[1], None, decision, channel="staging").changed
    assert staged.champion() == releases[0]
    assert promote(staged, releases[1], releases[0], decision).changed
    assert staged.champion() == releases[1]


def test_an_override_is_no_way_around_staging(staged, releases):
    with pytest.raises(RegistryError, match="only from staging") as caught:
        promote(staged, releases[0], override=True)
    assert "--channel staging" in caught.value.next_step
    promote(staged, releases[0], channel="staging", override=True)
    assert promote(staged, releases[0], override=True).changed


def test_the_way_back_needs_no_staging(staged, releases):
    before = None
    for release in releases[:2]:
        promote(staged, release, before, channel="staging", override=True)
        promote(staged, release, before, override=True)
        before = release
    assert staged.rollback(who="me", why="slower").champion == releases[0].digest


def test_staging_takes_no_decision_against_a_former_champion(registry, releases):
    promote(registry, releases[0], override=True)
    decision = decide(registry, releases[1], releases[0])
    promote(registry, releases[2], releases[0], override=True)
    with pytest.raises(RegistryError, match="is about"):
        promote(registry, releases[1], None, decision, channel="staging")


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_that_moved_meanwhile_is_a_conflict(registry, releases, channel):
    promote(registry, releases[0], channel=channel, override=True)
    with pytest.raises(PromotionConflict, match="prepared against None"):
        promote(registry, releases[1], None, channel=channel, override=True)
    assert registry.channel_digest(channel) == releases[0].digest
    assert [event.kind for event in registry.history()].count("promoted") == 1
