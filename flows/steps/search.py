"""A question -> passages of one index version, with what each search made of them."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from flows.steps.index import open_embedder, open_release, wanted_release
from flows.workspace import Workspace
from tasks.answer.release import Release
from tasks.config import Retrieval
from tasks.errors import BadInput
from tasks.evaluate.run import Progress
from tasks.index.identity import reranker_digest
from tasks.index.retrieve import Explained
from tasks.index.version import StoredIndex


def searched_release(
    workspace: Workspace,
    stored: StoredIndex,
    release: Release | None,
    kind: str | None,
    rerank: str | None,
    filters: Sequence[str],
) -> Release:
    """The release that a version is searched as.

    Args:
        workspace: settings and state.
        stored: the version.
        release: a release that has it; None: the version with the retrieval of the settings.
        kind: another kind of search; None: the release's.
        rerank: another reranker, empty for none; None: the release's.
        filters: `name=value`, instead of the release's; empty: the release's.

    Raises:
        ConfigError: there is no such reranker.
        BadInput: a filter or a kind is malformed.
    """
    if release is None:
        version = stored.version
        release = wanted_release(workspace, version.corpus_digest).model_copy(
            update={
                "index_digest": version.digest,
                "chunking": version.chunking,
                "embedding": version.embedding,
                "embedding_digest": version.embedding_digest,
                "index_settings": version.index,
            }
        )
    changes: dict[str, Any] = {}
    if kind is not None:
        changes["kind"] = kind
    if rerank is not None:
        changes["rerank"] = rerank or None
    if filters:
        changes["filters"] = _filters(filters)
    try:
        retrieval = Retrieval.model_validate(release.retrieval.model_dump() | changes)
    except ValidationError as error:
        raise BadInput(
            f"These search settings don't fit: {error.errors()[0]['msg']}.",
            next_step="See the options: ratchet index search --help",
        ) from error
    digest = release.reranker_digest
    if retrieval.rerank != release.retrieval.rerank:
        name = retrieval.rerank
        digest = reranker_digest(workspace.project.models.reranker(name)) if name else None
    return release.model_copy(update={"retrieval": retrieval, "reranker_digest": digest})


def explain(
    workspace: Workspace, release: Release, question: str, top_k: int, progress: Progress
) -> list[Explained]:
    """Search as a release does.

    Raises:
        SetupError: a model can't be had.
        CorruptArtifact: the index or its corpus was changed.
    """
    embedder = open_embedder(workspace, release.embedding, progress)
    retriever = open_release(workspace, release, embedder, progress)
    (found,) = retriever.explain([question], top_k=top_k)
    return found


def _filters(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise BadInput(
                f"The filter {text!r} has no value; expected name=value.",
                next_step="For example: --filter source=notes",
            )
        found[name] = (*found.get(name, ()), value)
    return found
