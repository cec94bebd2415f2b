"""`ratchet index`: what an index version is made of, what changed, and what it finds."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.filesize import decimal
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen, table
from flows.show import terminal_progress
from flows.workspace import Workspace, open_workspace
from tasks.digest import SHORT, Digest
from tasks.errors import BadInput, ConfigError, RegistryError
from tasks.evaluate.run import Progress
from tasks.index.inspect import compare_versions, room_stats, summarise
from tasks.index.remote import VERSIONS, Remote, Transfer
from tasks.index.remote import pull as pull_version
from tasks.index.remote import push as push_version
from tasks.index.sharing import version_directories
from tasks.index.version import StoredIndex, open_version
from tasks.store import write_atomic

if TYPE_CHECKING:
    from tasks.answer.release import Release
    from tasks.index.retrieve import Explained

index = typer.Typer(no_args_is_help=True, help="Index versions, their segments and what they find.")

Version = Annotated[
    str,
    typer.Argument(help="The start of an index's digest, or a release: a digest, label, champion."),
]


@index.command()
def show(
    version: Version = "champion",
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw the chunks on a plane into this file: .png, .svg or .pdf."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="With --picture: mark what an older version doesn't have.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a version: its documents and chunks, its segments and how they are searched.

    Example: ratchet index show champion --picture index.png --against previous
    """
    with reported():
        workspace = open_workspace()
        stored = _open(workspace, version)
        if picture is not None:
            _draw(workspace, stored, picture, against)
        segments = summarise(stored)
        manifest = stored.version
        if as_json:
            content = manifest.model_dump(mode="json", exclude={"segments"})
            print_json(content | {"segments": [asdict(segment) for segment in segments]})
            return
        screen.print(
            f"[bold]{manifest.digest[:SHORT]}[/]  {manifest.n_documents:,} documents, "
            f"{manifest.n_chunks:,} chunks, {escape(manifest.embedding)} "
            f"({manifest.dimensions} dimensions), {manifest.index.kind}"
        )
        shown = table("segment", "kind", ">chunks", ">deleted", ">recall", ">size")
        for segment in segments:
            recall = "exact" if segment.recall is None else f"{segment.recall:.3f}"
            counts = f"{segment.chunks:,}", f"{segment.deleted:,}"
            size = decimal(segment.bytes)
            shown.add_row(segment.digest[:SHORT], segment.kind, *counts, recall, size)
        screen.print(shown)
        if picture is not None:
            screen.print(f"Picture: {escape(str(picture))}")


@index.command()
def diff(old: Version, new: Version = "champion", as_json: Json = False) -> None:
    """Show which documents and chunks differ between two versions, and what they share.

    Example: ratchet index diff previous champion
    """
    with reported():
        workspace = open_workspace()
        found = compare_versions(_open(workspace, old), _open(workspace, new))
        if as_json:
            print_json(found)
            return
        documents = found.documents
        shown = table("documents", ">number", "the first of them")
        for word in ("added", "changed", "removed"):
            names = getattr(documents, word)
            shown.add_row(word, f"{len(names):,}", escape(", ".join(names[:3])))
        screen.print(shown)
        screen.print(
            f"Chunks: {found.chunks_added:,} added, {found.chunks_removed:,} removed, "
            f"{found.chunks_shared:,} the same.\n"
            f"Segments: {decimal(found.bytes_shared)} shared, {decimal(found.bytes_added)} new."
        )


@index.command()
def search(
    question: Annotated[str, typer.Argument(help="What to look for.")],
    version: Annotated[str, typer.Option("--index", help="As in `index show`.")] = "champion",
    top_k: Annotated[
        int | None, typer.Option(min=1, max=100, help="Passages; else as many as the release.")
    ] = None,
    kind: Annotated[
        Literal["dense", "lexical", "hybrid"] | None,
        typer.Option(help="How to search; else as the release does."),
    ] = None,
    rerank: Annotated[
        str | None, typer.Option(help='A reranker in configs/models.yaml; "" for none.')
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--filter", help="name=value of the documents' metadata; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find passages without answering anything, and say which search found them.

    A release is searched with its own settings, a version named by its digest with those of
    configs/release.yaml; the options change them for this search.

    Example: ratchet index search "how long do apples keep" --kind hybrid --filter source=notes
    """
    with reported():
        workspace = open_workspace()
        stored = _open(workspace, version)
        # The model's libraries take seconds: not before the version is known to be there.
        from flows.steps.search import explain, searched_release

        release = searched_release(
            workspace, stored, _release_named(workspace, stored, version), kind, rerank, only or ()
        )
        with terminal_progress() as progress:
            hits = explain(workspace, release, question, top_k or release.retrieval.top_k, progress)
        if as_json:
            print_json([_row(hit) for hit in hits])
            return
        shown = table(">rank", ">score", ">dense", ">words", ">fused", "document", "passage")
        for hit in hits:
            passage = hit.passage
            first = passage.text.split("\n", 1)[0][:80]
            ranks = ("" if rank is None else str(rank) for rank in _ranks(hit))
            shown.add_row(
                str(passage.rank),
                f"{passage.score:.3f}",
                *ranks,
                escape(passage.doc_id),
                escape(first),
            )
        screen.print(shown)


def _ranks(hit: "Explained") -> tuple[int | None, ...]:
    return hit.dense_rank, hit.lexical_rank, hit.fused_rank


def _row(hit: "Explained") -> dict[str, Any]:
    names = ("dense_rank", "lexical_rank", "fused_rank")
    return asdict(hit.passage) | dict(zip(names, _ranks(hit), strict=True))


@index.command()
def stats(as_json: Json = False) -> None:
    """Show what all versions and the embedding caches take on the disk.

    Example: ratchet index stats
    """
    with reported():
        found = room_stats(open_workspace().home.path("index"))
        if as_json:
            print_json(found)
            return
        screen.print(
            f"{found.versions:,} versions of {found.segments:,} segments: "
            f"{decimal(found.segment_bytes)}; without sharing they would take "
            f"{decimal(found.bytes_without_sharing)}.\n"
            f"Embedding cache: {sum(found.cached_texts.values()):,} texts of "
            f"{len(found.cached_texts)} model(s), {decimal(found.cache_bytes)}."
        )


def _draw(workspace: Workspace, stored: StoredIndex, path: Path, against: str | None) -> None:
    from flows.steps.reindex_report import document_sources
    from tasks.index.projection import project
    from tasks.report.projection import PICTURE_FORMATS, picture

    form = path.suffix.lstrip(".").lower()
    if form not in PICTURE_FORMATS:
        raise BadInput(
            f"{str(path)!r} can't be drawn; expected a name that ends in "
            f"{', '.join(PICTURE_FORMATS)}.",
            next_step="Name the file, for example, index.png.",
        )
    old = _open(workspace, against) if against else None
    projection = project(old, stored)
    corpora = [each.version.corpus_digest for each in (old, stored) if each is not None]
    sources = document_sources(workspace, corpora, {point.doc_id for point in projection.points})
    write_atomic(path, picture(projection, sources, form=form))


Url = Annotated[
    str | None,
    typer.Option(help="The store, as fsspec names it; else storage.url of the settings."),
]
Embeddings = Annotated[
    bool, typer.Option("--embeddings", help="Also the embedding cache of the version's model.")
]


@index.command()
def push(
    version: Version = "champion",
    url: Url = None,
    embeddings: Embeddings = False,
    as_json: Json = False,
) -> None:
    """Copy a version into a store from which other machines pull it.

    Example: ratchet index push champion --url file:///mnt/shared/ratchet
    """
    with reported():
        workspace = open_workspace()
        with terminal_progress() as progress:
            remote = _remote(workspace, url, progress)
            directory = _open(workspace, version).directory
            moved = push_version(directory, remote, embeddings=embeddings)
        _show_transfer("pushed", moved, as_json)


@index.command()
def pull(
    version: Version = "champion",
    url: Url = None,
    embeddings: Embeddings = False,
    as_json: Json = False,
) -> None:
    """Copy a version from a store; every file is checked before it can be used.

    Example: ratchet index pull champion --url file:///mnt/shared/ratchet
    """
    with reported():
        workspace = open_workspace()
        room = workspace.home.room("index")
        with terminal_progress() as progress:
            remote = _remote(workspace, url, progress)
            stored = remote.names(VERSIONS)
            found = [name for name in stored if name.startswith(version.lower())]
            if len(found) != 1:
                found = [_index_of(workspace, version, remote, stored)]
            moved = pull_version(found[0], room, remote, embeddings=embeddings)
        _show_transfer("pulled", moved, as_json)


def _index_of(workspace: Workspace, name: str, remote: Remote, stored: list[str]) -> Digest:
    """The index of a release; an error says what the store has instead."""
    try:
        with workspace.registry(repair=False) as registry:
            return registry.release(name).index_digest
    except RegistryError as error:
        there = ", ".join(digest[:SHORT] for digest in stored) or "none"
        raise RegistryError(
            f"{name!r} is neither the start of one version in the store {remote.url!r}, which has "
            f"{there}, nor a release here: {error.message}",
            next_step="Name a version by the start of its digest: ratchet index pull DIGEST",
        ) from error


def _remote(workspace: Workspace, url: str | None, progress: Progress) -> Remote:
    wanted = url or workspace.project.services.storage.url
    if wanted is None:
        raise ConfigError(
            "There is no store: storage.url in configs/services.yaml is null.",
            next_step="Set it, or give one: --url file:///mnt/shared/ratchet",
        )
    total = 0

    def moved(size: int) -> None:
        nonlocal total
        total += size
        progress(f"copied: {decimal(total)}", 0, 0)

    return Remote(wanted, moved=moved)


def _show_transfer(done: str, moved: Transfer, as_json: bool) -> None:
    if as_json:
        print_json(moved)
        return
    screen.print(
        f"{done}: {moved.files:,} files, {decimal(moved.bytes)}; {moved.known:,} directories were "
        "there already."
    )


def _open(workspace: Workspace, name: str) -> StoredIndex:
    """A version by the start of its digest, else that of a release."""
    room = workspace.home.path("index")
    found = [path for path in version_directories(room) if path.name.startswith(name.lower())]
    if len(found) == 1:
        return open_version(found[0])
    return open_version(_of_release(workspace, room, name))


def _release_named(workspace: Workspace, stored: StoredIndex, name: str) -> "Release | None":
    """The release that was named, if it wasn't the version itself."""
    if stored.directory.name.startswith(name.lower()):
        return None
    with workspace.registry(repair=False) as registry:
        return registry.release(name)


def _of_release(workspace: Workspace, room: Path, name: str) -> Path:
    with workspace.registry(repair=False) as registry:
        directory = room / registry.release(name).index_digest
    if not directory.is_dir():
        raise RegistryError(
            f"The index {directory.name[:SHORT]} of {name!r} isn't on this machine.",
            next_step="Build it with: ratchet reindex",
        )
    return directory
