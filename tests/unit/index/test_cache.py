from pathlib import Path

import numpy as np
import pytest

from tasks.digest import text_digest
from tasks.errors import CorruptArtifact
from tasks.index.cache import EmbeddingCache
from tests.processes import Child

MODEL = "m" * 64


def keys(*numbers: int) -> np.ndarray:
    return np.array([bytes.fromhex(text_digest(f"text {n}")) for n in numbers], dtype="S32")


def vectors(*numbers: int) -> np.ndarray:
    return np.array([[n, n + 0.5, 0, 1] for n in numbers], dtype=np.float32)


def opened(room: Path, model: str = MODEL) -> EmbeddingCache:
    return EmbeddingCache(room, model, 4)


def shards(room: Path) -> list[Path]:
    return [path for path in (room / "embeddings" / MODEL).iterdir() if path.name[0] != "."]


def test_what_was_put_is_found_by_this_and_later_readers(tmp_path: Path):
    cache = opened(tmp_path)
    assert len(cache) == 0
    assert not cache.has(keys(1, 2)).any()
    cache.put(keys(3, 1, 2), vectors(3, 1, 2))
    cache.put(keys(4), vectors(4))
    for reader in (cache, opened(tmp_path)):
        assert reader.has(keys(4, 5, 1)).tolist() == [True, False, True]
        assert np.array_equal(reader.take(keys(4, 1, 1, 2)), vectors(4, 1, 1, 2))
        assert len(reader) == 4


def test_a_text_that_is_not_there_is_an_error_by_its_digest(tmp_path: Path):
    cache = opened(tmp_path)
    cache.put(keys(1), vectors(1))
    with pytest.raises(KeyError, match=text_digest("text 2")):
        cache.take(keys(1, 2))


def test_another_model_shares_nothing(tmp_path: Path):
    opened(tmp_path).put(keys(1), vectors(1))
    assert not opened(tmp_path, "n" * 64).has(keys(1)).any()


def test_many_small_shards_become_few_and_lose_nothing(tmp_path: Path):
    cache, reader = opened(tmp_path), opened(tmp_path)
    for n in range(100):
        cache.put(keys(n), vectors(n))
    assert len(shards(tmp_path)) <= 33
    reader.refresh()
    for one in (cache, reader, opened(tmp_path)):
        assert np.array_equal(one.take(keys(*range(100))), vectors(*range(100)))


def test_a_reader_goes_on_while_its_shards_are_merged(tmp_path: Path):
    cache = opened(tmp_path)
    for n in range(5):
        cache.put(keys(n), vectors(n))
    reader = opened(tmp_path)
    cache.merge()
    assert len(shards(tmp_path)) < 5
    assert np.array_equal(reader.take(keys(*range(5))), vectors(*range(5)))


def test_a_changed_vector_is_noticed_when_it_is_read(tmp_path: Path):
    opened(tmp_path).put(keys(1, 2), vectors(1, 2))
    (shard,) = shards(tmp_path)
    data = bytearray((shard / "vectors.npy").read_bytes())
    data[-1] ^= 1
    (shard / "vectors.npy").write_bytes(data)
    cache = opened(tmp_path)
    with pytest.raises(CorruptArtifact, match="damaged") as raised:
        cache.take(keys(1, 2))
    assert str(shard) in raised.value.next_step


@pytest.mark.parametrize("name", ["keys.npy", "vectors.npy", "sums.npy"])
def test_a_missing_or_cut_file_is_named(tmp_path: Path, name: str):
    opened(tmp_path).put(keys(1, 2), vectors(1, 2))
    (shard,) = shards(tmp_path)
    (shard / name).write_bytes((shard / name).read_bytes()[:20])
    with pytest.raises(CorruptArtifact, match=name):
        opened(tmp_path)
    (shard / name).unlink()
    with pytest.raises(CorruptArtifact, match=name):
        opened(tmp_path)


def write(room: Path, first: int) -> None:
    cache = opened(room)
    for n in range(first, first + 60):
        cache.put(keys(n), vectors(n))


def test_several_processes_write_at_once(tmp_path: Path):
    # Each two write half of the texts of one another.
    writers = [Child(target=write, args=(tmp_path, first)) for first in (0, 30, 60)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert np.array_equal(opened(tmp_path).take(keys(*range(120))), vectors(*range(120)))
