"""Shards and several segments: other places to work at, the same index."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.config import Compaction, IndexSettings
from tasks.corpus.document import Document
from tasks.digest import Digest
from tasks.errors import Terminal
from tasks.index.assemble import SegmentPart, build_segment
from tasks.index.build import BuildReport, EmbeddingPlan, build_index
from tasks.index.fill import EMBED_BATCH
from tasks.index.rate import TRIAL
from tasks.index.search import open_index
from tasks.index.shards import Progress, TextShard, cut, embed_shard
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder
from tests.unit.index.test_build import CHUNKING

QUERIES = ["text of number 7", "it has two sentences", "nothing of that"]


class Elsewhere:
    """Does shards in the reverse order, each with a model of its own as another process would."""

    def __init__(self, shard_chunks: int = EMBED_BATCH, *, lazy: bool = False) -> None:
        self.shard_chunks = shard_chunks
        self.lazy = lazy
        self.embedded: list[int] = []
        self.models: list[HashingEmbedder] = []
        self.built: list[int] = []

    def embed(self, shards: Sequence[TextShard], progress: Progress) -> None:
        total = sum(map(len, shards))
        for shard in reversed(shards[1:] if self.lazy else shards):
            self.models.append(HashingEmbedder())
            self.embedded.append(embed_shard(shard, self.models[-1]))
            progress(sum(self.embedded), total)

    def build(self, parts: Sequence[SegmentPart]) -> list[Digest]:
        self.built += [part.stop - part.start for part in parts]
        return [build_segment(part) for part in reversed(parts)][::-1]


def corpus(numbers: range, *, words: str = "text") -> MemorySnapshot:
    return MemorySnapshot(
        [
            Document(f"doc{n}", "", f"{words} of number {n}. It has two sentences.", {})
            for n in numbers
        ],
        [],
    )


def build(
    snapshot: MemorySnapshot,
    room: Path,
    runner: Elsewhere | None,
    *,
    previous: Path | None = None,
    compaction: Compaction | None = None,
    **options,
) -> BuildReport:
    return build_index(
        snapshot,
        CHUNKING,
        HashingEmbedder(),
        room=room,
        previous=previous,
        compaction=compaction,
        runner=runner,
        **options,
    )


def found(report: BuildReport) -> list:
    return open_index(report.directory, HashingEmbedder()).search(QUERIES, top_k=20)


def segments(report: BuildReport) -> list[str]:
    return [use.digest for use in report.version.segments]


@given(st.integers(0, 20_000), st.integers(1_000, 100_000))
def test_shards_cover_every_text_once_in_whole_batches(texts, shard_chunks):
    shards = cut(texts, shard_chunks)
    assert [row for shard in shards for row in (shard.start, shard.stop)][1:-1:2] == [
        shard.start for shard in shards[1:]
    ]
    assert sum(shard.stop - shard.start for shard in shards) == texts
    for shard in shards:
        assert shard.start % EMBED_BATCH == 0
        assert 0 < shard.stop - shard.start <= shard_chunks + EMBED_BATCH


def test_shards_give_the_bytes_of_a_build_without_them(tmp_path: Path):
    snapshot = corpus(range(2_500))
    whole = build(snapshot, tmp_path / "whole", None)
    runner = Elsewhere()
    sharded = build(snapshot, tmp_path / "sharded", runner)
    assert len(runner.embedded) == 3
    assert sum(runner.embedded) == sharded.embedded == whole.embedded
    # A segment's name is a digest of all its bytes.
    assert sharded.version == whole.version
    assert not runner.built


def test_a_build_without_new_texts_asks_nobody(tmp_path: Path):
    first = build(corpus(range(10)), tmp_path, None)
    runner = Elsewhere()
    fewer = build(corpus(range(1, 10)), tmp_path, runner, previous=first.directory)
    assert fewer.embedded == 0
    assert build(corpus(range(10)), tmp_path, runner, previous=first.directory).embedded == 0
    assert not runner.embedded
    assert not runner.built


def test_a_shard_that_is_done_again_embeds_only_what_was_lost(tmp_path: Path):
    class Killed(HashingEmbedder):
        def encode(self, texts, *, progress=None):
            if self.texts:
                raise KeyboardInterrupt
            return super().encode(texts, progress=progress)

    class Retried(Elsewhere):
        def embed(self, shards, progress):
            (shard,) = shards
            with pytest.raises(KeyboardInterrupt):
                embed_shard(shard, Killed())
            super().embed(shards, progress)

    runner = Retried(100_000)
    report = build(corpus(range(2_500)), tmp_path, runner)
    assert runner.embedded == [report.embedded - EMBED_BATCH]
    # For a shard that is done there is nothing left.
    again = Elsewhere(100_000)
    (tmp_path / report.version.digest).rename(tmp_path / ".gone")
    build(corpus(range(2_500)), tmp_path, again)
    assert not again.embedded


def test_a_shard_that_was_left_out_is_an_error_and_nothing_is_published(tmp_path: Path):
    with pytest.raises(Terminal, match=r"texts have no vector.*although") as raised:
        build(corpus(range(2_500)), tmp_path, Elsewhere(lazy=True))
    assert "reindex.runner" in raised.value.next_step
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embeddings"]


def test_a_process_with_another_model_embeds_no_shard(tmp_path: Path):
    class Other(Elsewhere):
        def embed(self, shards, progress):
            embed_shard(shards[0], HashingEmbedder("other"))

    with pytest.raises(Terminal, match="this process has 'other'"):
        build(corpus(range(10)), tmp_path, Other())


def test_how_long_it_takes_is_told_once_after_a_small_batch(tmp_path: Path):
    plans: list[EmbeddingPlan] = []
    seen: list[tuple[int, int]] = []
    build(
        corpus(range(2_500)),
        tmp_path,
        Elsewhere(),
        announce=plans.append,
        progress=lambda *step: seen.append(step),
    )
    (plan,) = plans
    assert plan.seconds is not None
    assert seen[0][0] > TRIAL
    assert seen[-1] == (plan.texts, plan.texts)


MANY = Compaction(max_segment_chunks=40, max_segments=2)


def test_many_chunks_become_several_segments_that_find_the_same(tmp_path: Path):
    snapshot = corpus(range(100))
    one = build(snapshot, tmp_path / "one", None)
    runner = Elsewhere()
    several = build(snapshot, tmp_path / "several", runner, compaction=MANY)
    here = build(snapshot, tmp_path / "here", None, compaction=MANY)
    assert one.version.n_chunks == sum(runner.built)
    assert max(runner.built) <= 40
    assert min(runner.built) >= 20
    assert segments(several) == segments(here)
    assert len(segments(several)) == len(runner.built) > 2
    assert several.version.digest == one.version.digest
    assert found(several) == found(one)


def test_full_segments_are_shared_and_not_merged_for_their_number(tmp_path: Path):
    first = build(corpus(range(100)), tmp_path, None, compaction=MANY)
    more = build(corpus(range(101)), tmp_path, None, previous=first.directory, compaction=MANY)
    assert segments(more)[:-1] == segments(first)
    assert more.merged == 0


@settings(max_examples=10, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(5, 50),
    st.sampled_from(["text", "another text"]),
)
def test_whatever_is_merged_and_cut_is_found_as_from_scratch(
    tmp_path_factory, before: int, after: int, at_most: int, words: str
):
    path = tmp_path_factory.mktemp("rooms")
    limits = Compaction(max_segment_chunks=at_most, max_segments=2, max_deleted=0.1)
    first = build(corpus(range(before)), path / "grown", None, compaction=limits)
    snapshot = corpus(range(before // 2, before // 2 + after), words=words)
    runner = Elsewhere()
    grown = build(snapshot, path / "grown", runner, previous=first.directory, compaction=limits)
    fresh = build(snapshot, path / "fresh", None)
    assert grown.version.n_chunks == fresh.version.n_chunks
    assert found(grown) == found(fresh)
    for segment in open_index(grown.directory, HashingEmbedder()).stored.segments:
        segment.check()


def test_each_of_several_large_segments_is_searched_approximately(tmp_path: Path):
    limits = Compaction(max_segment_chunks=5_000)
    report = build(
        corpus(range(8_400)),
        tmp_path,
        Elsewhere(),
        compaction=limits,
        index=IndexSettings(kind="ivf", recall=0.9),
    )
    manifests = [
        s.manifest for s in open_index(report.directory, HashingEmbedder()).stored.segments
    ]
    assert [manifest.kind for manifest in manifests] == ["ivf", "ivf"]
    for manifest in manifests:
        assert manifest.recall is not None
        assert manifest.recall.recall >= 0.9
