"""A promotion or rollback that meets `gc`: each of them wins as a whole."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from registry import Registry
from registry.catalog import Catalog
from registry.retention import Retention
from tasks.errors import RegistryError


def go_live(registry: Registry, release: Any) -> Any:
    return registry.promote(
        release.digest,
        expected_champion=registry.champion_digest(),
        who="test",
        why="test",
        override=True,
    )


def waiting(pool: ThreadPoolExecutor, mine: Catalog, work: Callable[[], Any]) -> Future[Any]:
    """Run `work` on another registry as far as its write lock, which the caller holds."""
    asks = threading.Event()

    def listen(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "BEGIN IMMEDIATE" in statement or "FOR UPDATE" in statement:
            asks.set()

    event.listen(mine._ledger._database.engine, "before_cursor_execute", listen)
    future = pool.submit(work)
    assert asks.wait(30)
    assert not future.done()
    return future


def while_gc_removes(registry: Registry, mine: Registry, directory: Path, work: Callable[[], Any]):
    """Let `work` wait for the lock that `gc` removes a directory under; what it comes to."""
    with ThreadPoolExecutor(1) as pool:
        with registry._ledger.writing():
            future = waiting(pool, mine, work)
            shutil.rmtree(directory)
        return future.result(30)


def test_a_promotion_that_waited_for_gc_sees_that_the_index_is_gone(registry, releases, home, url):
    go_live(registry, releases[0])
    before = registry.history()
    with Registry(url, home) as mine, pytest.raises(RegistryError, match=r"index .* is gone"):
        while_gc_removes(
            registry,
            mine,
            home.path("index", releases[1].index_digest),
            lambda: go_live(mine, releases[1]),
        )
    assert registry.champion() == releases[0]
    assert registry.history() == before


def test_a_rollback_that_waited_for_gc_sees_that_the_index_is_gone(registry, releases, home, url):
    for release in releases[:2]:
        go_live(registry, release)
    before = registry.history()
    with Registry(url, home) as mine, pytest.raises(RegistryError, match=r"index .* is gone"):
        while_gc_removes(
            registry,
            mine,
            home.path("index", releases[0].index_digest),
            lambda: mine.rollback(who="me", why="x"),
        )
    assert registry.champion() == releases[1]
    assert registry.history() == before


def test_gc_that_waited_for_a_promotion_keeps_what_has_gone_live(registry, releases, home, url):
    go_live(registry, releases[0])
    with Retention(url, home) as retention, ThreadPoolExecutor(1) as pool:
        with registry._ledger.writing() as connection:
            future = waiting(pool, retention, lambda: retention.remove(keep=1, min_age_s=0))
            moved = registry._ledger.append(
                connection,
                "promoted",
                subject=releases[1].digest,
                who="me",
                why="x",
                detail={"channel": "production", "from": releases[0].digest},
            )
            registry._ledger.move(connection, expected=releases[0].digest, to=moved)
        removed = future.result(30)
    assert "champion" in removed.kept[releases[1].digest]
    assert {thing.name for thing in removed.unneeded} == {
        releases[2].index_digest,
        releases[3].index_digest,
    }
    assert home.path("index", releases[1].index_digest).is_dir()


@pytest.mark.integration
def test_whatever_gc_removes_meanwhile_a_champion_has_its_index(registry, releases, home, url):
    go_live(registry, releases[0])
    stop = threading.Event()

    def collect() -> int:
        with Retention(url, home) as retention:
            removed = 0
            while not stop.is_set():
                removed += len(retention.remove(keep=1, min_age_s=0).unneeded)
            return removed

    refused = 0
    with ThreadPoolExecutor(1) as pool:
        collecting = pool.submit(collect)
        try:
            for turn in range(60):
                release = releases[turn % 4]
                # Not `exist_ok`, which looks again: gc may have removed it in between.
                with suppress(FileExistsError):
                    home.path("index", release.index_digest).mkdir()
                try:
                    go_live(registry, release)
                except RegistryError:
                    refused += 1
                live = registry.champion()
                assert home.path("index", live.index_digest).is_dir()
        finally:
            stop.set()
        assert collecting.result(60) > 0
    assert refused < 60
