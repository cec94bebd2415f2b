import json

import pytest

from tests.unit.flows.evaluations import evaluated, registered


@pytest.fixture
def stored(workspace):
    """Five releases that were live one after the other."""
    made = [registered(workspace, number) for number in range(5)]
    for release in made:
        directory = workspace.home.path("index", release.index_digest)
        (directory / "vectors.npy").write_bytes(b"x" * 2000)
        with workspace.registry() as registry:
            registry.promote(
                release.digest,
                expected_champion=registry.champion_digest(),
                who="tester",
                why="test",
                override=True,
            )
    return made


def test_without_yes_it_only_shows_what_would_go(ratchet, workspace, stored):
    shown = ratchet("gc", "--keep", "2", "--min-age", "0")
    assert shown.exit_code == 0, shown.output
    assert "Add --yes" in shown.stdout
    assert stored[1].index_digest[:12] in shown.stdout
    assert "kB" in shown.stdout
    assert "anchor" in shown.stdout
    assert all(workspace.home.path("index", each.index_digest).is_dir() for each in stored)


def test_with_yes_it_goes_and_the_ledger_and_the_releases_stay(ratchet, workspace, stored):
    evaluation = evaluated(workspace, stored[1], right=20)
    shown = ratchet("gc", "--keep", "2", "--min-age", "0", "--yes")
    assert shown.exit_code == 0, shown.output
    assert "Removed: 3 entries" in shown.stdout
    left = [workspace.home.path("index", each.index_digest).is_dir() for each in stored]
    # The first one is the anchor.
    assert left == [True, False, False, True, True]
    assert not workspace.home.path("evals", evaluation).exists()
    assert len(json.loads(ratchet("releases", "--json").stdout)) == 5
    again = ratchet("gc", "--keep", "2", "--min-age", "0", "--yes")
    assert "There is nothing to remove" in again.stdout


def test_a_script_gets_every_name_and_size(ratchet, stored):
    found = json.loads(ratchet("gc", "--keep", "2", "--min-age", "0", "--json").stdout)
    assert found["removed"] is False
    assert found["bytes"] == sum(row["size"] for row in found["unneeded"])
    assert {row["name"] for row in found["unneeded"]} == {
        stored[1].index_digest,
        stored[2].index_digest,
    }


def test_by_default_nothing_of_today_goes(ratchet, stored):
    assert "There is nothing to remove" in ratchet("gc", "--keep", "1", "--yes").stdout


def test_a_rollback_to_what_was_removed_is_refused_and_changes_nothing(ratchet, stored):
    ratchet("gc", "--keep", "2", "--min-age", "0", "--yes")
    shown = ratchet("rollback", "--to", stored[1].label, "--why", "test")
    assert shown.exit_code == 2
    assert "is gone" in shown.stderr
    rows = json.loads(ratchet("releases", "--json").stdout)
    assert [row["digest"] for row in rows if row["champion"]] == [stored[4].digest]


@pytest.mark.parametrize("arguments", [("--keep", "0"), ("--min-age", "-1"), ("--keep", "x")])
def test_wrong_numbers_are_refused(ratchet, stored, arguments):
    assert ratchet("gc", *arguments).exit_code == 2
