from pathlib import Path

import pytest

from tasks.config import Compaction
from tasks.index.build import BuildReport, build_index
from tasks.index.compaction import segments_to_merge, smallest_to_merge
from tasks.index.search import open_index
from tests.embedders import HashingEmbedder
from tests.unit.index.test_build import CHUNKING, corpus, rows

LIMITS = Compaction(max_deleted=0.25, max_segments=4)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([5], [0]),
        ([1000, 10], [0, 1]),
        ([1000, 10, 10], [1, 2]),
        ([1000, 10, 15, 20, 40], [1, 2, 3, 4]),
        ([1000, 10, 15, 30, 40], [1, 2]),
    ],
)
def test_the_smallest_are_merged_as_long_as_the_next_one_is_not_larger(sizes, expected):
    assert smallest_to_merge(sizes) == expected


@pytest.mark.parametrize(
    ("segments", "new", "expected"),
    [
        ([], 10, []),
        ([(100, 100), (75, 100)], 10, []),
        ([(100, 100), (74, 100)], 10, [1]),
        ([(100, 100), (74, 100)], 0, [1]),
        ([(1000, 1000), (10, 10), (10, 10)], 5, []),
        ([(1000, 1000), (10, 10), (10, 10), (10, 10)], 5, [1, 2, 3]),
        ([(1000, 1000), (10, 10), (10, 10), (10, 10)], 0, []),
        ([(700, 1000), (10, 10), (10, 10), (10, 10), (10, 10)], 0, [0, 1, 2, 3, 4]),
    ],
)
def test_segments_are_merged_when_they_are_many_or_mostly_deleted(segments, new, expected):
    assert segments_to_merge(segments, new, LIMITS) == expected


def test_sizes_that_grow_by_a_percent_a_night_stay_few_and_are_copied_seldom():
    sizes, copied = [100_000], 0
    for _ in range(1_000):
        merged = segments_to_merge([(size, size) for size in sizes], 1_000, Compaction())
        rows = sum(sizes[position] for position in merged)
        copied += rows
        kept = [size for position, size in enumerate(sizes) if position not in merged]
        sizes = [*kept, rows + 1_000]
        assert len(sizes) <= Compaction().max_segments
    assert copied / 1_000_000 < 10


def build(room: Path, night: int, previous: Path | None, model: HashingEmbedder) -> BuildReport:
    return build_index(
        corpus(**{f"doc{night % 10}": f"New text of night {night}. It has two sentences."}),
        CHUNKING,
        model,
        room=room,
        previous=previous,
        compaction=LIMITS,
    )


def test_merging_embeds_nothing_and_changes_no_result(tmp_path: Path):
    model, previous, merges = HashingEmbedder(), None, 0
    for night in range(12):
        report = build(tmp_path / "grown", night, previous, model)
        assert len(report.version.segments) <= LIMITS.max_segments
        for use in report.version.segments:
            assert use.n_deleted <= LIMITS.max_deleted * use.n_chunks
        merges += report.merged
        fresh = build(tmp_path / f"fresh {night}", night, None, HashingEmbedder())
        assert rows(report) == rows(fresh)
        query = [f"text of night {night}", "few sentences"]
        assert open_index(report.directory, HashingEmbedder()).search(query, top_k=5) == open_index(
            fresh.directory, HashingEmbedder()
        ).search(query, top_k=5)
        previous = report.directory
    assert merges > 4
    assert len(model.texts) == len(set(model.texts))
