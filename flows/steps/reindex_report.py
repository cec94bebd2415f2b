"""Live and new index -> the re-index report, stored under the new index's digest."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from flows.steps.index import IndexRef
from flows.workspace import Workspace
from tasks.answer.release import Release
from tasks.corpus.digests import CorpusDiff, compare_digests
from tasks.corpus.stored import open_snapshot
from tasks.digest import Digest
from tasks.errors import CorpusError
from tasks.gate.retrieval import IndexTests
from tasks.index.inspect import summarise
from tasks.index.projection import Projection, project
from tasks.index.version import StoredIndex, open_version
from tasks.report.projection import picture
from tasks.report.reindex import (
    FACTS,
    PAGE,
    PICTURE,
    ReindexFacts,
    SegmentFacts,
    reindex_markdown,
    reindex_page,
)
from tasks.store import read_json, write_atomic, write_json
from tasks.track.receipts import RECEIPT

ROOM = "reports"


@dataclass(frozen=True, slots=True)
class ReportRef:
    """A stored re-index report."""

    directory: Path

    @property
    def page(self) -> Path:
        """The HTML report."""
        return self.directory / PAGE

    @property
    def markdown(self) -> Path:
        """The same, shorter, for Prefect."""
        return self.directory / "report.md"

    @property
    def picture(self) -> Path:
        """The projection of the chunks."""
        return self.directory / PICTURE


def write_reindex_report(
    workspace: Workspace, live: Release | None, index: IndexRef, tests: IndexTests | None
) -> ReportRef:
    """Compare the new index with the live one and write the report, unless it is there.

    Args:
        workspace: settings and state.
        live: the champion, with another index; None: there is none.
        index: the new index, and what it cost.
        tests: of the new index beside the live one.

    Raises:
        CorruptArtifact: an index or a corpus was changed.
    """
    ref = ReportRef(workspace.home.room(ROOM) / index.digest)
    if _is_written(ref, live, index, tests):
        return ref
    room = workspace.home.path("index")
    new = open_version(room / index.digest)
    old = open_version(room / live.index_digest) if live is not None else None
    projection = project(old, new)
    facts = _facts(old, new, index, tests, projection)
    sources = document_sources(
        workspace,
        [stored.version.corpus_digest for stored in (old, new) if stored is not None],
        {point.doc_id for point in projection.points},
    )
    light, dark = (picture(projection, sources, theme=theme) for theme in ("light", "dark"))
    write_atomic(ref.picture, light)
    write_atomic(ref.page, reindex_page(facts, light=light, dark=dark))
    write_atomic(ref.markdown, reindex_markdown(facts, page=str(ref.page)))
    # What MLflow shows is the report that was here before.
    (ref.directory / RECEIPT).unlink(missing_ok=True)
    # Last: without it the report counts as not written.
    write_json(ref.directory / FACTS, facts.model_dump(mode="json"))
    return ref


def document_sources(
    workspace: Workspace, corpora: Collection[Digest], doc_ids: Collection[str]
) -> dict[str, str]:
    """Name of the source of each document, where its corpus is on this machine."""
    found: dict[str, str] = {}
    for corpus in corpora:
        try:
            snapshot = open_snapshot(workspace.home.path("corpus", corpus))
        except CorpusError:
            # An index that came from elsewhere, or whose corpus was removed.
            continue
        found |= {
            document.doc_id: document.metadata["source"] for document in snapshot.read(set(doc_ids))
        }
    return found


def _facts(
    old: StoredIndex | None,
    new: StoredIndex,
    index: IndexRef,
    tests: IndexTests | None,
    projection: Projection,
) -> ReindexFacts:
    diff = compare_digests(old.documents(), new.documents()) if old else CorpusDiff()
    return ReindexFacts(
        index=index.digest,
        live=old.version.digest if old else None,
        embedding=new.version.embedding,
        documents=new.version.n_documents,
        chunks=new.version.n_chunks,
        embedded=index.embedded,
        reused=index.reused,
        chunks_new=projection.new,
        chunks_removed=projection.removed,
        sampled=len(projection.points) < projection.kept + projection.new + projection.removed,
        added=diff.added,
        changed=diff.changed,
        removed=diff.removed,
        segments=tuple(
            SegmentFacts(
                digest=row.digest,
                kind=row.kind,
                chunks=row.chunks,
                deleted=row.deleted,
                recall=row.recall,
            )
            for row in summarise(new)
        ),
        tests=tests,
        refused=index.refused,
    )


def _is_written(
    ref: ReportRef, live: Release | None, index: IndexRef, tests: IndexTests | None
) -> bool:
    """Whether the report is there already: all that it says follows from these, but the costs.

    Those are of the run that wrote it; a second one embeds nothing any more.
    """
    stored = read_json(ref.directory / FACTS)
    return isinstance(stored, dict) and (
        stored.get("live"),
        stored.get("tests"),
        stored.get("refused"),
    ) == (
        live.index_digest if live is not None else None,
        tests.model_dump(mode="json") if tests is not None else None,
        list(index.refused),
    )
