"""A Dask cluster of worker processes, one of which is killed in the middle of its shard."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.shards import DaskShards, DaskThroughStore, LocalShards
from tasks.config import Compaction, ReindexService
from tasks.digest import text_digest
from tasks.errors import ConfigError, SetupError
from tasks.index.assemble import SegmentPart
from tasks.index.build import BuildReport, build_index
from tasks.index.fill import EMBED_BATCH
from tasks.index.search import open_index
from tasks.index.shards import ShardRunner
from tests.embedders import HashingEmbedder
from tests.unit.index.test_shards import CHUNKING, QUERIES, corpus

pytestmark = pytest.mark.integration

PART = SegmentPart(
    room=Path("room"),
    table=Path("table"),
    start=0,
    stop=1,
    n_new=1,
    merged=None,
    embedding="m" * 64,
    dimensions=4,
    kind="flat",
    recall=0.9,
)
LIMITS = Compaction(max_segment_chunks=2_000)
DASK = ReindexService(runner="dask", workers=2, shard_chunks=2_000)


class LoggingEmbedder(HashingEmbedder):
    """Says in files of their own which process was given which texts; one process dies of them."""

    def __init__(self, directory: Path, *, dies: bool) -> None:
        super().__init__()
        self.directory = directory
        self.dies = dies
        self.calls = 0

    def encode(self, texts, *, progress=None):
        self.calls += 1
        path = self.directory / f"{os.getpid()}-{self.calls}"
        path.write_text("\n".join(map(text_digest, texts)), encoding="ascii")
        if self.dies and self.calls == 2 and self._first():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts, progress=progress)

    def _first(self) -> bool:
        """Whether no other process has come this far; exactly one is told so."""
        try:
            (self.directory / "killed").touch(exist_ok=False)
        except FileExistsError:
            return False
        (self.directory / "killed").write_text(f"{os.getpid()}-{self.calls}", encoding="ascii")
        return True


@dataclass(frozen=True)
class OpenLogging:
    directory: Path
    dies: bool

    def __call__(self) -> LoggingEmbedder:
        return LoggingEmbedder(self.directory, dies=self.dies)


def indexed(room: Path, documents: int, runner: ShardRunner | None = None) -> BuildReport:
    """Build the index; without a runner, in this process and uncut."""
    return build_index(
        corpus(range(documents)),
        CHUNKING,
        HashingEmbedder(),
        room=room,
        previous=None,
        compaction=LIMITS,
        runner=runner,
    )


@flow
def index_on_dask(room: Path, log: Path, documents: int, store: str | None) -> BuildReport:
    opener = OpenLogging(log, dies=True)
    with (
        DaskShards(DASK, opener)
        if store is None
        else DaskThroughStore(DASK, opener, store, room.parent / "elsewhere")
    ) as runner:
        return indexed(room, documents, runner)


def given(log: Path) -> dict[str, list[str]]:
    """Texts that models were given, by process and call."""
    return {
        path.name: path.read_text(encoding="ascii").split()
        for path in log.iterdir()
        if path.name != "killed"
    }


@pytest.mark.parametrize("shared_disk", [True, False], ids=["shared disk", "store"])
def test_a_worker_killed_in_its_shard_costs_one_batch_and_changes_nothing(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch, shared_disk: bool
):
    monkeypatch.delenv("RATCHET_HOME", raising=False)
    log = tmp_path / "log"
    log.mkdir()
    store = None if shared_disk else f"file://{tmp_path}/store"
    report = index_on_dask(tmp_path / "cluster", log, 6_000, store)
    alone = indexed(tmp_path / "alone", 6_000)
    # Segments are named by a digest of all their bytes.
    assert report.version == alone.version
    assert len(report.version.segments) == 3
    ours, theirs = (open_index(each.directory, HashingEmbedder()) for each in (report, alone))
    assert ours.search(QUERIES, top_k=20) == theirs.search(QUERIES, top_k=20)

    calls = given(log)
    lost = calls.pop((log / "killed").read_text(encoding="ascii"))
    assert len(lost) <= EMBED_BATCH
    times = Counter(text for texts in calls.values() for text in texts)
    assert times.total() == len(times) == report.embedded == 6_000
    assert set(lost) <= set(times)
    # The one that died, and those that did the rest.
    assert len({name.split("-")[0] for name in calls}) > 1


@contextmanager
def cluster(directory: Path, workers: int) -> Iterator[str]:
    """A scheduler and workers that somebody else started; the scheduler's address."""
    file = directory / "scheduler.json"
    common = ["--no-dashboard", "--scheduler-file", str(file)]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root}

    def start(*command: str) -> subprocess.Popen[bytes]:
        return stack.enter_context(
            ended(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *command, *common],
                    cwd=directory,
                    env=environment,
                    stderr=subprocess.DEVNULL,
                )
            )
        )

    with ExitStack() as stack:
        scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0")
        while not file.exists():
            assert scheduler.poll() is None
            time.sleep(0.05)
        for _ in range(workers):
            start("worker", "--nthreads", "1", "--no-nanny", "--memory-limit", "0")
        yield json.loads(file.read_text(encoding="utf-8"))["address"]


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


@flow
def index_elsewhere(address: str, room: Path, log: Path) -> BuildReport:
    service = DASK.model_copy(update={"address": address})
    with DaskShards(service, OpenLogging(log, dies=False)) as runner:
        return indexed(room, 3_000, runner)


def test_workers_of_a_cluster_that_runs_already_do_the_shards(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("RATCHET_HOME", raising=False)
    log = tmp_path / "log"
    log.mkdir()
    with cluster(tmp_path, workers=2) as address:
        report = index_elsewhere(address, tmp_path / "cluster", log)
    alone = indexed(tmp_path / "alone", 3_000)
    assert report.version == alone.version
    calls = given(log)
    assert str(os.getpid()) not in {name.split("-")[0] for name in calls}
    assert sum(map(len, calls.values())) == report.embedded == 3_000


@flow
def index_here(room: Path, model: HashingEmbedder, documents: int) -> BuildReport:
    return indexed(room, documents, LocalShards(model, DASK.shard_chunks))


def test_in_one_process_shards_are_tasks_that_embed_every_text_once(
    tmp_path: Path, prefect_api: str
):
    model = HashingEmbedder()
    report = index_here(tmp_path / "tasks", model, 3_000)
    alone = indexed(tmp_path / "alone", 3_000)
    assert report.version == alone.version
    assert len(report.version.segments) == 2
    assert len(model.texts) == len(set(model.texts)) == 3_000


def test_a_cluster_elsewhere_needs_a_prefect_server_that_it_can_reach(tmp_path: Path):
    elsewhere = DASK.model_copy(update={"address": "tcp://127.0.0.1:9"})
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        DaskShards(elsewhere, OpenLogging(tmp_path, dies=False)) as runner,
        pytest.raises(ConfigError, match=r"no Prefect server") as raised,
    ):
        runner.build([PART])
    assert "ratchet up" in raised.value.next_step


def test_without_dask_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "prefect_dask.task_runners", None)
    with (
        DaskShards(DASK, OpenLogging(tmp_path, dies=False)) as runner,
        pytest.raises(SetupError, match=r"Dask can't be imported") as raised,
    ):
        runner.build([PART])
    assert "ratchet[dask]" in raised.value.next_step
