"""Shards of a re-index -> Prefect tasks: in this process, or on the workers of a Dask cluster."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flows.policies import step
from flows.steps.worker import OpenEmbedder, WorkerEmbedder, opened
from flows.workspace import Workspace
from tasks.closing import Closing
from tasks.config import ReindexService
from tasks.digest import Digest
from tasks.errors import ConfigError, ServerUnavailable, SetupError
from tasks.index.assemble import SegmentPart, build_segment
from tasks.index.embed import Embedder
from tasks.index.remote import Remote
from tasks.index.remote_shards import (
    StoredShard,
    collect_shard,
    embed_stored_shard,
    send_shard,
)
from tasks.index.shards import Progress, ShardRunner, TextShard, embed_shard
from tasks.store import Home

_WORKER_WAIT_S = 120

embed_task = step("embed a shard")(embed_shard)
build_task = step("build a segment")(build_segment)


@step("embed a shard")
def embed_on_worker(opener: OpenEmbedder, shard: TextShard) -> int:
    """Embed a shard with a model that this process opens, or has open."""
    return embed_shard(shard, opened(opener))


@step("embed a shard")
def embed_through_store(opener: OpenEmbedder, shard: StoredShard, url: str, root: Path) -> int:
    """Embed a shard whose texts come from a store and whose vectors go there."""
    room = Home.find(root).room("index")
    return embed_stored_shard(shard, room, Remote(url), opened(opener))


@contextmanager
def open_runner(workspace: Workspace, embedder: Embedder) -> Iterator[ShardRunner]:
    """What `reindex` in configs/services.yaml asks for; nothing starts before there is a shard.

    Args:
        workspace: settings and state.
        embedder: the model of the build, open in this process.
    """
    service = workspace.project.services.reindex
    if service.runner == "local":
        yield LocalShards(embedder, service.shard_chunks)
        return
    model = workspace.project.models.embedding(embedder.name)
    opener = WorkerEmbedder(embedder.name, model, workspace.project.root)
    if service.shared_disk:
        with DaskShards(service, opener) as runner:
            yield runner
        return
    url = workspace.project.services.storage.url
    if url is None:
        raise ConfigError(
            "reindex.shared_disk is false, and storage.url is null: workers can't be reached.",
            next_step="Set storage.url in configs/services.yaml.",
        )
    with DaskThroughStore(service, opener, url, workspace.project.root) as runner:
        yield runner


class LocalShards:
    """One shard after the other in this process, each a Prefect task."""

    def __init__(self, embedder: Embedder, shard_chunks: int) -> None:
        self.shard_chunks = shard_chunks
        self._embedder = embedder

    def embed(self, shards: Sequence[TextShard], progress: Progress) -> None:
        """Embed every shard."""
        total, before = sum(map(len, shards)), 0
        for shard in shards:

            def report(done: int, _: int, before: int = before) -> None:
                progress(before + done, total)

            embed_task(shard, self._embedder, progress=report)
            before += len(shard)

    def build(self, parts: Sequence[SegmentPart]) -> list[Digest]:
        """Build every segment."""
        return [build_task(part) for part in parts]


class DaskShards(Closing):
    """Shards as Prefect tasks on a Dask cluster, through Prefect's own task runner.

    A worker that dies is noticed by Dask, which gives its shard to another one; there only what
    isn't in the cache is embedded.
    """

    def __init__(self, service: ReindexService, opener: OpenEmbedder) -> None:
        self.shard_chunks = service.shard_chunks
        self._service = service
        self._opener = opener
        self._stack = ExitStack()

    def embed(self, shards: Sequence[TextShard], progress: Progress) -> None:
        """Embed every shard.

        Raises:
            SetupError: Dask isn't installed.
            ServerUnavailable: the cluster doesn't answer or has no worker, or several workers died
                of one shard.
        """
        total, done = sum(map(len, shards)), 0
        futures = [
            self._submit(embed_on_worker, opener=self._opener, shard=shard) for shard in shards
        ]
        for shard, future in zip(shards, futures, strict=True):
            _result(future)
            done += len(shard)
            progress(done, total)

    def build(self, parts: Sequence[SegmentPart]) -> list[Digest]:
        """Build every segment; the errors are those of `embed`."""
        futures = [self._submit(build_task, part=part) for part in parts]
        return [_result(future) for future in futures]

    def close(self) -> None:
        """Let go of the cluster; one that was started for this run ends."""
        self._stack.close()

    def _submit(self, task: Any, **parameters: Any) -> Any:
        return self._runner.submit(task, parameters)

    @cached_property
    def _runner(self) -> Any:
        try:
            from prefect_dask.task_runners import DaskTaskRunner
        except ImportError as error:
            raise SetupError(
                f"reindex.runner is 'dask', and Dask can't be imported: {error}.",
                next_step='Install it with: pip install "ratchet[dask]"; or set runner: local.',
            ) from error
        from prefect.settings import PREFECT_API_URL, temporary_settings

        where = self._where()
        # Workers tell the same Prefect server as this process how their tasks go.
        self._stack.enter_context(temporary_settings({PREFECT_API_URL: _api_url()}))
        try:
            runner = self._stack.enter_context(DaskTaskRunner(**where))
            runner.client.wait_for_workers(1, timeout=_WORKER_WAIT_S)
        except (OSError, TimeoutError) as error:
            raise ServerUnavailable(
                f"The Dask cluster at {self._service.address or 'this machine'!r} doesn't answer "
                f"or has no worker: {error}.",
                next_step="Start its scheduler and workers, or set reindex.address in "
                "configs/services.yaml to null.",
            ) from error
        return runner

    def _where(self) -> dict[str, Any]:
        if self._service.address is None:
            return {
                "cluster_kwargs": {
                    "n_workers": self._service.workers,
                    "threads_per_worker": 1,
                    # Any free port: that of the default may be taken.
                    "dashboard_address": "127.0.0.1:0",
                    # Mapped vectors count as memory of a worker, which Dask would end for them.
                    "memory_limit": 0,
                    "local_directory": self._stack.enter_context(TemporaryDirectory()),
                }
            }
        from prefect.settings import PREFECT_API_URL

        if PREFECT_API_URL.value() is None:
            raise ConfigError(
                f"reindex.address is {self._service.address!r}, but no Prefect server runs that "
                "its workers could reach.",
                next_step="Run: ratchet up, or set prefect.api_url in configs/services.yaml.",
            )
        return {"address": self._service.address}


class DaskThroughStore(DaskShards):
    """The same for workers that share a store with this process, and no disk."""

    def __init__(self, service: ReindexService, opener: OpenEmbedder, url: str, root: Path) -> None:
        super().__init__(service, opener)
        self._url = url
        self._root = root

    def embed(self, shards: Sequence[TextShard], progress: Progress) -> None:
        """Embed every shard; what a worker finished is in the store whatever becomes of it."""
        remote = Remote(self._url)
        total, done = sum(map(len, shards)), 0
        sent = [send_shard(shard, remote) for shard in shards]
        futures = [
            self._submit(
                embed_through_store,
                opener=self._opener,
                shard=stored,
                url=self._url,
                root=self._root,
            )
            for stored in sent
        ]
        for shard, stored, future in zip(shards, sent, futures, strict=True):
            _result(future)
            collect_shard(shard, remote)
            remote.delete(stored.key)
            done += len(shard)
            progress(done, total)

    def build(self, parts: Sequence[SegmentPart]) -> list[Digest]:
        """Build every segment here, where their vectors are."""
        return [build_task(part) for part in parts]


def _api_url() -> str:
    """The Prefect server of this process; without one of the project's, its own temporary one."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return str(client.api_url)


def _result(future: Any) -> Any:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise ServerUnavailable(
            f"Dask gave a shard up because the workers that had it died: {error}.",
            next_step="Look at the workers' logs and memory, then run again: what was embedded is "
            "kept.",
        ) from error
