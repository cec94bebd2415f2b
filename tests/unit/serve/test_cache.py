from pathlib import Path

import pytest

from tasks.digest import text_digest
from tasks.errors import CorruptArtifact
from tasks.serve.cache import CachedCall, CallCache, call_key


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    with CallCache(tmp_path / "cache") as cache:
        for model in ("small", "large"):
            for purpose, count in (("answer", 2), ("judge", 3)):
                for number in range(count):
                    key = text_digest(f"{model} {purpose} {number}")
                    cache.put(key, CachedCall("{}" * 50, 1.0, 0.1, model=model, purpose=purpose))
    return tmp_path / "cache"


def test_a_call_is_named_by_everything_that_changes_its_answer():
    digest = text_digest("model")
    body = {"messages": [{"role": "user", "content": "a"}], "seed": 0}
    names = {
        call_key(digest, "/v1/chat/completions", body, 0),
        call_key(text_digest("other"), "/v1/chat/completions", body, 0),
        call_key(digest, "/v1/chat/completions", body, 1),
        call_key(digest, "/v1/chat/completions", body | {"seed": 1}, 0),
        call_key(digest, "/v1/completions", body, 0),
    }
    assert len(names) == 5


def test_groups_count_entries_and_bytes_by_model_and_purpose(directory):
    with CallCache(directory) as cache:
        groups = cache.groups()
        assert {(g.model, g.purpose): g.entries for g in groups} == {
            ("small", "answer"): 2,
            ("small", "judge"): 3,
            ("large", "answer"): 2,
            ("large", "judge"): 3,
        }
        assert all(group.bytes > 100 for group in groups)
        assert groups[0].bytes >= groups[-1].bytes
        assert cache.bytes_on_disk > 0


def test_only_what_every_condition_holds_for_is_pruned(directory):
    with CallCache(directory) as cache:
        assert cache.prune(model="small", purpose="judge") == 3
        assert cache.prune(model="small", older_than_s=3600) == 0
        assert len(cache) == 7
        assert cache.prune(model="large") == 5
        assert cache.clear() == 2
        assert cache.groups() == []


def test_the_cache_stays_within_its_size(tmp_path):
    most = 2_000_000
    with CallCache(tmp_path, max_bytes=most) as cache:
        for number in range(400):
            cache.put(text_digest(str(number)), CachedCall("x" * 20_000, 1.0, None))
        assert cache.bytes_on_disk < 1.2 * most
        newest = cache.get(text_digest("399"))
        assert newest is not None
        assert cache.get(text_digest("0")) is None


def test_two_processes_share_a_cache(directory):
    key = text_digest("new")
    with CallCache(directory) as one, CallCache(directory) as other:
        one.put(key, CachedCall("{}", 1.0, None))
        assert other.get(key) == CachedCall("{}", 1.0, None)


def test_a_damaged_cache_says_so(directory):
    (directory / "cache.db").write_bytes(b"no database" * 1000)
    for name in ("cache.db-wal", "cache.db-shm"):
        (directory / name).unlink(missing_ok=True)
    with pytest.raises(CorruptArtifact, match="cache of model calls"):
        CallCache(directory)
