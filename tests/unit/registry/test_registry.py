import json
import shutil

import pytest

from registry import Registry
from tasks.digest import text_digest
from tasks.errors import PromotionConflict, RegistryError


def decide(registry, challenger, champion, *, verdict="PROMOTE"):
    before = None if champion is None else champion.digest
    digest = text_digest(f"{verdict} {challenger.digest} {before}")
    registry.record_decision(
        digest,
        verdict=verdict,
        challenger=challenger.digest,
        champion=before,
        who="gate",
        why="answer_correct +0.05",
    )
    return digest


def promote(registry, challenger, champion, **options):
    return registry.promote(
        challenger.digest,
        expected_champion=champion and champion.digest,
        decision_digest=decide(registry, challenger, champion),
        who="nightly",
        why="better",
        **options,
    )


def kinds(registry):
    return [event.kind for event in registry.history() if event.kind != "registered"]


def test_a_new_registry_has_no_champion_and_no_view(registry):
    assert registry.champion() is None
    assert registry.champion_digest() is None
    assert not registry.view.exists()


def test_registering_twice_is_one_event(registry, releases):
    registry.register(releases[0], who="somebody else")
    assert len(registry.history()) == len(releases)


def test_a_promotion_moves_the_pointer_and_shows_it_to_other_programs(registry, releases):
    move = promote(registry, releases[0], None)
    assert move.changed
    assert registry.champion() == releases[0]
    view = json.loads(registry.view.read_text())
    assert view["digest"] == releases[0].digest
    assert view["release"] == releases[0].model_dump(mode="json")
    assert kinds(registry) == ["decided", "promoted"]


def test_an_event_says_who_when_and_why(registry, releases):
    event = promote(registry, releases[0], None).event
    assert (event.who, event.why) == ("nightly", "better")
    assert event.at.endswith("+00:00")
    assert event.detail["decision"] == text_digest(f"PROMOTE {releases[0].digest} None")


def test_a_promotion_without_a_decision_is_refused(registry, releases):
    with pytest.raises(RegistryError, match="needs a recorded decision PROMOTE"):
        registry.promote(releases[0].digest, expected_champion=None, who="me", why="please")
    assert registry.champion() is None


def test_an_unknown_decision_is_refused(registry, releases):
    with pytest.raises(RegistryError, match="There is no decision 'feed'"):
        registry.promote(
            releases[0].digest, expected_champion=None, decision_digest="feed", who="me", why="x"
        )


@pytest.mark.parametrize("verdict", ["HOLD", "REJECT"])
def test_a_decision_that_does_not_say_promote_is_refused(registry, releases, verdict):
    decision = decide(registry, releases[0], None, verdict=verdict)
    with pytest.raises(RegistryError, match=f"says {verdict}, expected PROMOTE"):
        registry.promote(
            releases[0].digest, expected_champion=None, decision_digest=decision, who="me", why="x"
        )


def test_a_decision_about_another_pair_is_refused(registry, releases):
    promote(registry, releases[0], None)
    decision = decide(registry, releases[1], None)
    with pytest.raises(RegistryError, match=r"is about '.*' against no champion, not about"):
        registry.promote(
            releases[1].digest,
            expected_champion=releases[0].digest,
            decision_digest=decision,
            who="me",
            why="x",
        )
    assert registry.champion_digest() == releases[0].digest


def test_an_override_needs_a_reason_and_is_recorded(registry, releases):
    options = {"expected_champion": None, "who": "me", "override": True}
    with pytest.raises(RegistryError, match="An override needs a reason"):
        registry.promote(releases[0].digest, why="  ", **options)
    move = registry.promote(releases[0].digest, why="the suite is wrong", **options)
    assert move.event.detail["override"] is True
    assert move.event.why == "the suite is wrong"


def test_a_challenger_that_was_compared_with_a_former_champion_loses(registry, releases):
    promote(registry, releases[0], None)
    promote(registry, releases[1], releases[0])
    with pytest.raises(PromotionConflict, match="prepared against") as caught:
        promote(registry, releases[2], releases[0])
    assert caught.value.found == releases[1].digest
    assert registry.champion_digest() == releases[1].digest
    assert kinds(registry).count("promoted") == 2


def test_promoting_again_for_the_same_decision_says_that_nothing_was_changed(registry, releases):
    first = promote(registry, releases[0], None)
    again = promote(registry, releases[0], None)
    assert not again.changed
    assert again.event == first.event
    assert "nothing was changed" in again.message


def test_promoting_the_champion_for_another_decision_is_a_conflict(registry, releases):
    registry.promote(
        releases[0].digest, expected_champion=None, who="me", why="first", override=True
    )
    with pytest.raises(PromotionConflict, match="for another reason: promoted by 'me', 'first'"):
        promote(registry, releases[0], None)


def test_a_decision_does_not_promote_twice(registry, releases):
    promote(registry, releases[0], None)
    promote(registry, releases[1], releases[0])
    registry.rollback(who="me", why="slow")
    with pytest.raises(RegistryError, match="the same evidence doesn't promote twice"):
        promote(registry, releases[1], releases[0])
    assert registry.last_rollback_from(releases[1].digest).why == "slow"
    assert registry.last_rollback_from(releases[0].digest) is None


def test_rollback_brings_back_the_champion_before_and_then_the_one_before_that(registry, releases):
    promote(registry, releases[0], None)
    promote(registry, releases[1], releases[0])
    promote(registry, releases[2], releases[1])
    assert registry.previous_digest() == releases[1].digest
    assert registry.rollback(who="me", why="bad").champion == releases[1].digest
    assert registry.rollback(who="me", why="bad").champion == releases[0].digest
    assert json.loads(registry.view.read_text())["digest"] == releases[0].digest
    with pytest.raises(RegistryError, match="no earlier champion"):
        registry.rollback(who="me", why="bad")


def test_rollback_can_return_to_a_release_that_was_rolled_back_before(registry, releases):
    promote(registry, releases[0], None)
    promote(registry, releases[1], releases[0])
    registry.rollback(who="me", why="by mistake")
    registry.rollback(releases[1].digest[:10], who="me", why="it was right")
    assert registry.champion() == releases[1]
    assert registry.previous_digest() == releases[0].digest


def test_rollback_to_the_champion_changes_nothing(registry, releases):
    promote(registry, releases[0], None)
    move = registry.rollback("champion", who="me", why="again")
    assert not move.changed
    assert kinds(registry) == ["decided", "promoted"]


def test_rollback_to_a_release_that_never_was_live_is_refused(registry, releases):
    promote(registry, releases[0], None)
    with pytest.raises(RegistryError, match="never was the champion"):
        registry.rollback(releases[3].digest, who="me", why="x")


def test_rollback_from_another_champion_than_expected_is_a_conflict(registry, releases):
    promote(registry, releases[0], None)
    promote(registry, releases[1], releases[0])
    with pytest.raises(PromotionConflict):
        registry.rollback(who="monitor", why="alert", expected_champion=releases[0].digest)
    assert registry.champion() == releases[1]


def test_a_release_whose_index_is_gone_is_neither_promoted_nor_rolled_back_to(
    registry, releases, home
):
    promote(registry, releases[0], None)
    promote(registry, releases[1], releases[0])
    shutil.rmtree(home.path("index", releases[0].index_digest))
    with pytest.raises(RegistryError, match=r"can't be rolled back to: its index .* is gone"):
        registry.rollback(who="me", why="bad")
    shutil.rmtree(home.path("index", releases[2].index_digest))
    with pytest.raises(RegistryError, match="can't be promoted"):
        promote(registry, releases[2], releases[1])
    assert registry.champion() == releases[1]


def test_releases_are_listed_with_the_champion_and_the_one_before(registry, releases):
    promote(registry, releases[0], None)
    promote(registry, releases[1], releases[0])
    rows = registry.releases()
    assert [row.label for row in rows] == [release.label for release in releases]
    assert [row.champion for row in rows] == [False, True, False, False]
    assert [row.previous for row in rows] == [True, False, False, False]


def test_aliases_name_what_is_live_what_was_and_what_is_considered(registry, releases):
    def names():
        return {alias: digest for alias, digest in registry.aliases().items() if digest}

    first, second, third, fourth = (release.digest for release in releases)
    assert names() == {"challenger": fourth}
    promote(registry, releases[0], None)
    assert names() == {"champion": first}
    registry.record_decision("d" * 64, verdict="HOLD", challenger=third, champion=first, who="gate")
    assert names() == {"champion": first, "challenger": third}
    promote(registry, releases[1], releases[0])
    assert names() == {"champion": second, "previous": first}
    registry.rollback(who="me", why="slow")
    # What was live is a challenger no more.
    assert names() == {"champion": first}


def test_the_head_changes_with_every_event_and_only_then(registry, releases):
    before = registry.head()
    registry.register(releases[0], who="again")
    assert registry.head() == before
    promote(registry, releases[0], None)
    assert registry.head().length == before.length + 2


def test_recording_again_is_the_same_as_once(registry, releases):
    for _ in range(2):
        decide(registry, releases[0], None)
        registry.record_evaluation(
            text_digest("log"), release=releases[0].digest, suite=text_digest("suite"), who="me"
        )
    assert kinds(registry) == ["decided", "evaluated"]


def test_the_same_decision_with_another_verdict_is_refused(registry, releases):
    decision = decide(registry, releases[0], None, verdict="HOLD")
    with pytest.raises(RegistryError, match="was decided before with"):
        registry.record_decision(
            decision, verdict="PROMOTE", challenger=releases[0].digest, champion=None, who="me"
        )


def test_a_decision_about_an_unregistered_release_is_refused(registry, make_release):
    stranger = make_release(99)
    with pytest.raises(RegistryError, match="There is no release"):
        decide(registry, stranger, None)


def test_what_was_written_is_there_for_the_next_process(registry, releases, home, url):
    promote(registry, releases[0], None)
    registry.close()
    with Registry(url, home) as again:
        assert again.champion() == releases[0]
        assert again.history() == registry.history()


def test_opening_repairs_a_view_that_a_killed_process_left_behind(registry, releases, home, url):
    promote(registry, releases[0], None)
    for broken in ("{", '{"digest": "another"}', None):
        if broken is None:
            registry.view.unlink()
        else:
            registry.view.write_text(broken)
        Registry(url, home).close()
        assert json.loads(registry.view.read_text())["digest"] == releases[0].digest
    assert not registry.sync_view()


def test_a_release_file_that_was_changed_or_lost_is_restored_from_the_ledger(
    registry, releases, home
):
    path = home.path("releases", f"{releases[0].digest}.json")
    original = path.read_text()
    path.write_text(original.replace('"top_k": 4', '"top_k": 9'))
    assert registry.release(releases[0].digest) == releases[0]
    assert path.read_text() == original
    path.unlink()
    assert registry.release(releases[0].digest) == releases[0]
    assert path.read_text() == original


def test_a_database_that_another_process_holds_gives_a_clear_error(registry, releases, home, url):
    impatient = Registry(url, home, busy_timeout_s=0.05)
    with (
        registry._ledger.writing(),
        pytest.raises(RegistryError, match="locked by another process"),
    ):
        decide(impatient, releases[0], None)
    decide(impatient, releases[0], None)
