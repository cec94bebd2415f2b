"""Settings -> stored corpus snapshot -> stored index version -> the release that is wanted."""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.workspace import Workspace
from tasks.answer.prompt import ANSWER_VARIABLES, load_prompt
from tasks.answer.release import Release
from tasks.config import EmbeddingModel, RemoteEmbedding
from tasks.corpus.stored import open_snapshot
from tasks.corpus.update import update_corpus
from tasks.digest import Digest
from tasks.errors import ConfigError
from tasks.index.identity import embedder_digest, reranker_digest
from tasks.index.manifest import has_segments, index_digest, load_version
from tasks.serve.version import model_version
from tasks.store import Home

# A night without changes ends before it needs what the functions below import, and loading that
# would take longer than looking at every file.
if TYPE_CHECKING:
    from tasks.evaluate.run import Progress
    from tasks.index.embed import Embedder
    from tasks.index.rerank import Reranker
    from tasks.index.retrieve import Retriever
    from tasks.index.shards import ShardRunner
    from tasks.serve.budget import Budget


@dataclass(frozen=True, slots=True)
class SnapshotRef:
    """A stored corpus snapshot: its digest, and what reading it found."""

    digest: Digest
    documents: int
    problems: dict[str, int]
    """Documents that were left out, by reason; each is named in `problems.json`."""
    flagged: dict[str, int]
    """Documents that a check found suspicious and that are kept, by reason; named there, too."""
    directory: Path


@dataclass(frozen=True, slots=True)
class IndexRef:
    """A stored index version, and what it cost: chunks embedded now and vectors taken over."""

    digest: Digest
    chunks: int
    embedded: int
    reused: int
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    """Documents that differ from the index it started from."""
    refused: tuple[str, ...] = ()
    """Why no challenger may have it."""
    report: Path | None = None
    """Page that compares it with the live one."""

    @property
    def changed_documents(self) -> int:
        """How many documents differ."""
        return len(self.added) + len(self.changed) + len(self.removed)


def snapshot_corpus(workspace: Workspace, progress: "Progress") -> SnapshotRef:
    """Read what changed in the sources since the last time and store the snapshot.

    Raises:
        CorpusError: a source can't be read at all.
    """
    progress("read the corpus", 0, 0)
    snapshot = update_corpus(
        workspace.project.corpus,
        root=workspace.project.root,
        room=workspace.home.room("corpus"),
        readings=workspace.home.room("readings"),
        progress=lambda seen: progress("read the corpus", seen, 0),
    ).snapshot
    left_out = Counter(item.reason for item in snapshot.problems if not item.is_kept)
    flagged = Counter(item.reason for item in snapshot.problems if item.is_kept)
    return SnapshotRef(
        digest=snapshot.digest,
        documents=snapshot.n_documents,
        problems=dict(sorted(left_out.items())),
        flagged=dict(sorted(flagged.items())),
        directory=snapshot.directory,
    )


def wanted_release(workspace: Workspace, corpus: Digest) -> Release:
    """Describe the release that the settings ask for, on a snapshot; nothing is built.

    Raises:
        ConfigError: the prompt is missing or has wrong variables.
    """
    project, wanted = workspace.project, workspace.project.release
    embedding = embedder_digest(project.models.embedding(wanted.embedding))
    rerank = wanted.retrieval.rerank
    reranker = None
    if rerank is not None:
        reranker = reranker_digest(project.models.reranker(rerank))
    return Release(
        prompt=load_prompt(project.prompts / f"{wanted.prompt}.yaml", variables=ANSWER_VARIABLES),
        model=model_version(wanted.model, project.models.generator(wanted.model)),
        retrieval=wanted.retrieval,
        reranker_digest=reranker,
        index_digest=index_digest(corpus, wanted.chunking, embedding, wanted.index),
        corpus_digest=corpus,
        chunking=wanted.chunking,
        embedding=wanted.embedding,
        embedding_digest=embedding,
        index_settings=wanted.index,
    )


def ensure_index(
    workspace: Workspace,
    release: Release,
    progress: "Progress",
    runner: "Callable[[Embedder], AbstractContextManager[ShardRunner]] | None" = None,
) -> IndexRef:
    """Build the release's index if it isn't there, embedding only what the last one lacks.

    Args:
        workspace: settings and state.
        release: whose index.
        progress: told how far it is.
        runner: opens what does the shards of the build; None: this function, without cutting it.

    Raises:
        SetupError: the embedding model can't be had.
        CorruptArtifact: the stored snapshot was changed.
    """
    room = workspace.home.room("index")
    directory = room / release.index_digest
    if directory.is_dir():
        version = load_version(directory)
        if has_segments(directory, version):
            return IndexRef(release.index_digest, version.n_chunks, 0, version.n_chunks)
    from tasks.index.build import build_index
    from tasks.index.sharing import version_to_start_from

    embedder = open_embedder(workspace, release.embedding, progress)
    with runner(embedder) if runner else nullcontext() as shards:
        report = build_index(
            open_snapshot(workspace.home.path("corpus", release.corpus_digest)),
            release.chunking,
            embedder,
            room=room,
            previous=version_to_start_from(
                room,
                chunking=release.chunking,
                embedding=release.embedding_digest,
                index=release.index_settings,
            ),
            index=release.index_settings,
            compaction=workspace.project.corpus.compaction,
            runner=shards,
            progress=lambda done, total: progress("embed", done, total),
            announce=lambda plan: progress(str(plan), 0, plan.texts),
        )
    diff = report.diff
    return IndexRef(
        digest=report.version.digest,
        chunks=report.version.n_chunks,
        embedded=report.embedded,
        reused=report.reused,
        added=diff.added if diff else (),
        changed=diff.changed if diff else (),
        removed=diff.removed if diff else (),
    )


def open_embedder(workspace: Workspace, name: str, progress: "Progress") -> "Embedder":
    """Load an embedding model, fetched on first use, or the client of one that is served.

    Raises:
        SetupError: no source has it, or its tokenizer isn't there.
    """
    return open_described(
        name,
        workspace.project.models.embedding(name),
        root=workspace.project.root,
        home=workspace.home,
        progress=progress,
        budget=workspace.budget,
    )


def open_described(
    name: str,
    model: EmbeddingModel | RemoteEmbedding,
    *,
    root: Path,
    home: Home,
    progress: "Progress",
    budget: "Callable[[str], Budget] | None" = None,
) -> "Embedder":
    """`open_embedder` for who has the model's settings and not the whole project's.

    Raises:
        SetupError: no source has it, or its tokenizer isn't there.
    """
    if isinstance(model, RemoteEmbedding):
        from tasks.serve.embedding import RemoteEmbedder

        return RemoteEmbedder(
            name,
            model,
            tokenizer=root / model.tokenizer,
            api_key=os.environ.get(model.api_key_env),
            budget=budget and budget(model.price.currency),
        )
    from tasks.index.embed import load_embedder
    from tasks.serve.weights import ensure_embedding

    directory = ensure_embedding(
        name, model, room=home.room("models"), progress=lambda text: progress(text, 0, 0)
    )
    return load_embedder(name, model, directory, room=home.room("models"))


def open_release(
    workspace: Workspace, release: Release, embedder: "Embedder", progress: "Progress"
) -> "Retriever":
    """Open what a release retrieves with.

    Raises:
        CorruptArtifact: its index or its documents were changed.
        SetupError: its reranker can't be had.
        ConfigError: configs/models.yaml describes another reranker by now.
    """
    from tasks.index.filters import allowed_rows
    from tasks.index.retrieve import open_retriever

    directory = workspace.home.path("index", release.index_digest)
    filters = release.retrieval.filters
    among = None
    if filters:
        from tasks.index.version import open_version

        snapshot = open_snapshot(workspace.home.path("corpus", release.corpus_digest))
        among = allowed_rows(open_version(directory), snapshot.metadata(), filters)
    return open_retriever(
        directory,
        embedder,
        release.retrieval,
        reranker=_open_reranker(workspace, release, progress),
        among=among,
    )


def _open_reranker(
    workspace: Workspace, release: Release, progress: "Progress"
) -> "Reranker | None":
    name = release.retrieval.rerank
    if name is None:
        return None
    from tasks.index.rerank import CrossEncoderReranker
    from tasks.serve.weights import ensure_reranker

    model = workspace.project.models.reranker(name)
    if reranker_digest(model) != release.reranker_digest:
        raise ConfigError(
            f"The release reranks with {name!r} ({str(release.reranker_digest)[:12]}), but "
            f"configs/models.yaml has another model of that name ({reranker_digest(model)[:12]}).",
            next_step="Give the new model a name of its own in configs/models.yaml.",
        )
    directory = ensure_reranker(
        name,
        model,
        room=workspace.home.room("models"),
        progress=lambda text: progress(text, 0, 0),
    )
    return CrossEncoderReranker(name, model, directory)
