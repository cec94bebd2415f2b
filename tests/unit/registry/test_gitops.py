import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from ruamel.yaml import YAML

from registry import Registry
from registry.gitops import champion_yaml, sync_champion_file
from tasks.digest import text_digest
from tasks.errors import RegistryError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "project" / "deploy" / "champion.yaml"


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock"


def go_live(registry: Registry, release, **options) -> None:
    registry.promote(
        release.digest,
        expected_champion=registry.champion_digest(),
        who="test",
        **{"why": "a reason: with # signs and “quotes”", "override": True} | options,
    )


def test_before_the_first_promotion_there_is_no_file(registry, path, lock):
    assert not sync_champion_file(registry, path, lock=lock)
    assert not path.exists()
    assert champion_yaml(registry) is None


def test_the_file_names_every_part_of_the_champion(registry, releases, path, lock):
    decision = text_digest("decision")
    registry.record_decision(
        decision, verdict="PROMOTE", challenger=releases[0].digest, champion=None, who="gate"
    )
    go_live(registry, releases[0], decision_digest=decision, override=False)
    assert sync_champion_file(registry, path, lock=lock)
    found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    assert found["digest"] == releases[0].digest
    assert found["prompt"] == {"name": "answer", "digest": releases[0].prompt.digest}
    assert found["model"]["digest"] == releases[0].model.digest
    assert found["retrieval"]["top_k"] == 4
    assert found["index"] == releases[0].index_digest
    assert found["corpus"] == releases[0].corpus_digest
    assert found["decision"] == decision
    assert found["why"] == "a reason: with # signs and “quotes”"
    assert found["replaced"] is None


def test_the_same_champion_is_not_written_again(registry, releases, path, lock):
    go_live(registry, releases[0])
    sync_champion_file(registry, path, lock=lock)
    before = path.stat()
    assert not sync_champion_file(registry, path, lock=lock)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    path.write_text("somebody edited it\n")
    assert sync_champion_file(registry, path, lock=lock)
    assert path.read_text(encoding="utf-8") == champion_yaml(registry)


def test_a_rollback_says_so_and_what_it_replaced(registry, releases, path, lock):
    go_live(registry, releases[0])
    go_live(registry, releases[1])
    registry.rollback(who="test", why="slow")
    sync_champion_file(registry, path, lock=lock)
    found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    assert found["digest"] == releases[0].digest
    assert found["how"] == "rolled back"
    assert found["replaced"] == releases[1].digest
    assert found["why"] == "slow"


def test_staging_is_not_shown(registry, releases, path, lock):
    go_live(registry, releases[0])
    before = champion_yaml(registry)
    registry.promote(
        releases[1].digest,
        expected_champion=None,
        who="test",
        why="test",
        override=True,
        channel="staging",
    )
    assert champion_yaml(registry) == before


def test_a_promotion_is_a_small_commit(registry, releases, path, lock):
    root = path.parents[1]
    root.mkdir()
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    go_live(registry, releases[0])
    sync_champion_file(registry, path, lock=lock)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    go_live(registry, releases[1], why="better")
    sync_champion_file(registry, path, lock=lock)
    shown = subprocess.run([*git, "diff"], check=True, capture_output=True, text=True).stdout
    added = [line for line in shown.splitlines() if line.startswith("+") and "+++" not in line]
    assert f"+digest: {releases[1].digest}" in added
    assert "+why: better" in added
    # The model and the retrieval are the same, and so are their lines.
    assert not [line for line in added if "model" in line or "top_k" in line]
    status = subprocess.run([*git, "status", "--short"], capture_output=True, text=True, check=True)
    assert status.stdout.split() == ["M", "deploy/champion.yaml"]


def test_many_at_once_leave_the_champion_of_now(registry, releases, home, url, path, lock):
    def move(number: int) -> None:
        with Registry(url, home) as mine:
            mine.promote(
                releases[number].digest,
                expected_champion=mine.champion_digest(),
                who="test",
                why=f"{number}",
                override=True,
            )
            sync_champion_file(mine, path, lock=lock)

    go_live(registry, releases[0])
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(move, number) for number in (1, 2, 3)]
    # Those that lost the race say so; at least one of them won.
    assert any(each.exception() is None for each in done)
    assert path.read_text(encoding="utf-8") == champion_yaml(registry)


def test_a_file_that_cannot_be_written_says_what_is_done_already(registry, releases, path, lock):
    go_live(registry, releases[0])
    path.parent.parent.mkdir()
    path.parent.write_text("a file where the directory should be")
    with pytest.raises(RegistryError, match="ledger") as caught:
        sync_champion_file(registry, path, lock=lock)
    assert "registry.champion_file" in caught.value.next_step
    assert registry.champion_digest() == releases[0].digest
