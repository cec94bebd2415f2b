"""Settings -> stored corpus snapshot -> stored index version -> the release that is wanted."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from flows.workspace import Workspace
from tasks.answer.generate import ANSWER_VARIABLES
from tasks.answer.prompt import load_prompt
from tasks.answer.release import Release
from tasks.corpus.snapshot import load_snapshot
from tasks.corpus.update import update_corpus
from tasks.digest import Digest
from tasks.evaluate.run import Progress
from tasks.index.build import build_index, index_digest
from tasks.index.embed import Embedder, embedder_digest, load_embedder
from tasks.index.sharing import version_to_start_from
from tasks.index.version import has_segments, load_version
from tasks.serve.version import model_version
from tasks.serve.weights import ensure_embedding


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


def snapshot_corpus(workspace: Workspace, progress: Progress) -> SnapshotRef:
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
    return Release(
        prompt=load_prompt(project.prompts / f"{wanted.prompt}.yaml", variables=ANSWER_VARIABLES),
        model=model_version(wanted.model, project.models.generator(wanted.model)),
        retrieval=wanted.retrieval,
        index_digest=index_digest(corpus, wanted.chunking, embedding, wanted.index),
        corpus_digest=corpus,
        chunking=wanted.chunking,
        embedding=wanted.embedding,
        embedding_digest=embedding,
        index_settings=wanted.index,
    )


def ensure_index(workspace: Workspace, release: Release, progress: Progress) -> IndexRef:
    """Build the release's index if it isn't there, embedding only what the last one lacks.

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
    report = build_index(
        load_snapshot(workspace.home.path("corpus", release.corpus_digest)),
        release.chunking,
        open_embedder(workspace, release.embedding, progress),
        room=room,
        previous=version_to_start_from(
            room,
            chunking=release.chunking,
            embedding=release.embedding_digest,
            index=release.index_settings,
        ),
        index=release.index_settings,
        compaction=workspace.project.corpus.compaction,
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


def open_embedder(workspace: Workspace, name: str, progress: Progress) -> Embedder:
    """Load an embedding model, fetched on first use.

    Raises:
        SetupError: no source has it.
    """
    model = workspace.project.models.embedding(name)
    directory = ensure_embedding(
        name,
        model,
        room=workspace.home.room("models"),
        progress=lambda text: progress(text, 0, 0),
    )
    return load_embedder(name, model, directory)
