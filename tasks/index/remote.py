"""Index versions here <-> the same versions in a store that other machines reach."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from tasks.config import Settings
from tasks.digest import Digest, file_digest
from tasks.errors import (
    ConfigError,
    CorruptArtifact,
    RatchetError,
    RegistryError,
    ServerUnavailable,
)
from tasks.index.cache import EMBEDDINGS, EmbeddingCache
from tasks.index.manifest import SEGMENTS, has_segments, load_version
from tasks.index.segment import MANIFEST, load_segment
from tasks.index.version import StoredIndex
from tasks.store import publish, scratch_directory

VERSIONS = "versions"
"""Directory of the versions in a store; segments and embeddings lie beside it."""

_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
"""Object stores: an upload appears when it is complete, and a rename would copy it."""


class FileDigests(Settings):
    """Manifest in the store of what has none on the disk, such as parts of the embedding cache."""

    files: dict[str, Digest]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a push or a pull moved, and what was there already."""

    files: int = 0
    bytes: int = 0
    known: int = 0
    """Versions, segments and parts of the embedding cache that needn't be moved."""

    def __add__(self, other: "Transfer") -> "Transfer":
        return Transfer(
            self.files + other.files, self.bytes + other.bytes, self.known + other.known
        )


class Remote:
    """A store of directories whose last file is a manifest: without one, there is no directory.

    Every method raises ServerUnavailable where the store can't be reached or refuses.

    Args:
        url: as fsspec names the store.
        moved: told the bytes of each file that was sent or received.

    Raises:
        ConfigError: fsspec has nothing for this kind of URL.
    """

    def __init__(self, url: str, *, moved: Callable[[int], None] | None = None) -> None:
        from fsspec.core import url_to_fs

        try:
            self._files, root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"The store {url!r} can't be opened: {error}.",
                next_step="Correct --url or storage.url in configs/services.yaml, or install what "
                "fsspec asks for.",
            ) from error
        self.url = url
        self._moved = moved or (lambda _: None)
        self._root = root.rstrip("/")
        kinds = self._files.protocol
        self._whole = bool({kinds} & _WHOLE if isinstance(kinds, str) else set(kinds) & _WHOLE)

    def names(self, kind: str) -> list[str]:
        """Names of the whole directories of one kind, in order."""
        with self._reached():
            found = self._files.glob(f"{self._root}/{kind}/*/{MANIFEST}")
        return sorted(PurePosixPath(path).parent.name for path in found)

    def has(self, key: str) -> bool:
        """Whether a whole directory is there."""
        # Another machine may have written since the store was listed.
        self._files.invalidate_cache()
        with self._reached():
            return bool(self._files.exists(f"{self._root}/{key}/{MANIFEST}"))

    def put(self, directory: Path, key: str, names: Iterable[str], manifest: bytes) -> Transfer:
        """Upload files of a directory and then its manifest; nothing where it is there."""
        if self.has(key):
            return Transfer(known=1)
        sent = Transfer()
        for name in names:
            path = directory / name
            self._upload(f"{key}/{name}", path)
            size = path.stat().st_size
            sent += Transfer(1, size)
            self._moved(size)
        self._write(f"{key}/{MANIFEST}", manifest)
        return sent + Transfer(1, len(manifest))

    def manifest(self, key: str) -> bytes:
        """The manifest of a directory.

        Raises:
            RegistryError: there is no such directory.
        """
        try:
            with self._reached():
                return bytes(self._files.cat_file(f"{self._root}/{key}/{MANIFEST}"))
        except FileNotFoundError as error:
            raise RegistryError(
                f"The store {self.url!r} has no {key!r}.",
                next_step="Push it from the machine that has it: ratchet index push",
            ) from error

    def get(self, key: str, directory: Path, files: Mapping[str, Digest]) -> Transfer:
        """Download files and compare each with its digest.

        Raises:
            CorruptArtifact: a file is missing, has other bytes, or would lie elsewhere.
        """
        got = Transfer()
        for name, expected in files.items():
            inside = PurePosixPath(name)
            if inside.is_absolute() or ".." in inside.parts or "\\" in name:
                raise self.damaged(key, f"{name!r} isn't a file of it")
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self._reached():
                    self._files.get_file(f"{self._root}/{key}/{name}", str(path))
            except FileNotFoundError as error:
                raise self.damaged(key, f"{name} is missing") from error
            found = file_digest(path)
            if found != expected:
                raise self.damaged(key, f"{name} has digest {found[:12]}, expected {expected[:12]}")
            size = path.stat().st_size
            got += Transfer(1, size)
            self._moved(size)
        return got

    def delete(self, key: str) -> None:
        """Delete a directory, its manifest first; nothing where there is none."""
        if self.has(key):
            with self._reached():
                self._files.rm_file(f"{self._root}/{key}/{MANIFEST}")
                self._files.rm(f"{self._root}/{key}", recursive=True)

    def _upload(self, key: str, path: Path) -> None:
        with self._appearing(key) as at:
            self._files.put_file(str(path), at)

    def _write(self, key: str, content: bytes) -> None:
        with self._appearing(key) as at:
            self._files.pipe_file(at, content)

    @contextmanager
    def _appearing(self, key: str) -> Iterator[str]:
        """Where to write a file that must appear when it is complete."""
        final = f"{self._root}/{key}"
        with self._reached():
            try:
                self._files.makedirs(final.rpartition("/")[0], exist_ok=True)
            except FileNotFoundError as error:
                raise self._unavailable(error) from error
            if self._whole:
                yield final
                return
            partial = f"{final}.partial-{uuid.uuid4().hex}"
            yield partial
            self._files.mv(partial, final)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, RatchetError):
            # What is missing says the caller.
            raise
        except Exception as error:
            # Each kind of store has errors of its own, and few are OSErrors.
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> ServerUnavailable:
        what = str(error) or type(error).__name__
        return ServerUnavailable(
            f"The store {self.url!r} can't be reached, or refuses: {what}.",
            next_step="Check its address and that you may read and write there, then run the "
            "same command again: what was copied is kept.",
        )

    def damaged(self, key: str, what: str) -> CorruptArtifact:
        """The error for a directory of the store whose bytes aren't those that were pushed."""
        return CorruptArtifact(
            f"{key} in the store {self.url!r} is damaged: {what}.",
            next_step=f"Delete {key} there, and push it again from a machine that has it.",
        )


def push(directory: Path, remote: Remote, *, embeddings: bool = False) -> Transfer:
    """Copy a version into a store: its segments, then itself, its manifest last.

    Killed anywhere, no reader sees a part of it, and the next push sends what is missing.

    Args:
        directory: `room/<digest>`.
        remote: the store.
        embeddings: whether the embedding cache of its model goes along.

    Raises:
        CorruptArtifact: a file of the version isn't the one that was written.
    """
    stored = StoredIndex(directory)
    stored.check()
    sent = Transfer()
    if embeddings:
        sent += _push_embeddings(directory.parent, stored, remote)
    for segment in stored.segments:
        manifest = (segment.directory / MANIFEST).read_bytes()
        key = f"{SEGMENTS}/{segment.digest}"
        sent += remote.put(segment.directory, key, segment.manifest.files, manifest)
    version = stored.version
    manifest = (directory / MANIFEST).read_bytes()
    return sent + remote.put(directory, f"{VERSIONS}/{version.digest}", version.files, manifest)


def pull(name: Digest, room: Path, remote: Remote, *, embeddings: bool = False) -> Transfer:
    """Copy a version from a store; it appears here when all of it was checked.

    Args:
        name: of the version.
        room: directory of all index versions.
        remote: the store.
        embeddings: whether the store's embedding cache of its model comes along.

    Raises:
        RegistryError: the store doesn't have it.
        CorruptArtifact: something in the store isn't what its digest says.
    """
    with scratch_directory(room, "pull") as scratch:
        inside = scratch / name
        key = f"{VERSIONS}/{name}"
        _receive(remote, key, inside)
        try:
            version = load_version(inside)
        except CorruptArtifact as error:
            raise remote.damaged(key, error.message) from error
        got = Transfer(1, (inside / MANIFEST).stat().st_size)
        if embeddings:
            got += _pull_embeddings(room, version.embedding_digest, version.dimensions, remote)
        for use in version.segments:
            got += _pull_segment(use.digest, room, scratch, remote)
        final = room / name
        if final.is_dir() and has_segments(final, load_version(final)):
            return got + Transfer(known=1)
        got += remote.get(key, inside, version.files)
        publish(inside, final)
    return got


def _pull_segment(name: Digest, room: Path, scratch: Path, remote: Remote) -> Transfer:
    final = room / SEGMENTS / name
    if final.is_dir():
        return Transfer(known=1)
    key, directory = f"{SEGMENTS}/{name}", scratch / SEGMENTS / name
    _receive(remote, key, directory)
    try:
        segment = load_segment(scratch, name)
    except CorruptArtifact as error:
        raise remote.damaged(key, error.message) from error
    got = remote.get(key, directory, segment.manifest.files)
    final.parent.mkdir(exist_ok=True)
    publish(directory, final)
    return got + Transfer(1, (final / MANIFEST).stat().st_size)


def _receive(remote: Remote, key: str, directory: Path) -> None:
    """Begin a directory with its manifest, from which the rest is known."""
    directory.mkdir(parents=True)
    (directory / MANIFEST).write_bytes(remote.manifest(key))


def _push_embeddings(room: Path, stored: StoredIndex, remote: Remote) -> Transfer:
    version = stored.version
    cache = EmbeddingCache(room, version.embedding_digest, version.dimensions)
    sent, done = Transfer(), set[Path]()
    while left := [path for path in cache.parts() if path not in done]:
        for path in left:
            done.add(path)
            try:
                sent += put_files(
                    path, f"{EMBEDDINGS}/{version.embedding_digest}/{path.name}", remote
                )
            except FileNotFoundError:
                # Another process merged it this moment: its texts are in a part that comes later.
                continue
        cache.refresh()
    return sent


def _pull_embeddings(room: Path, model: Digest, dimensions: int, remote: Remote) -> Transfer:
    cache = EmbeddingCache(room, model, dimensions)
    here = {path.name for path in cache.parts()}
    got = Transfer()
    for name in remote.names(f"{EMBEDDINGS}/{model}"):
        if name in here:
            got += Transfer(known=1)
            continue
        key = f"{EMBEDDINGS}/{model}/{name}"
        got += adopt_part(key, cache, remote)
    return got


def put_files(directory: Path, key: str, remote: Remote) -> Transfer:
    """Copy a directory that has no manifest of its own: its files' digests become one."""
    files = {path.name: file_digest(path) for path in sorted(directory.iterdir())}
    return remote.put(directory, key, files, FileDigests(files=files).model_dump_json().encode())


def adopt_part(key: str, cache: EmbeddingCache, remote: Remote) -> Transfer:
    """Take one part of an embedding cache from the store.

    Raises:
        RegistryError: it isn't there.
        CorruptArtifact: it isn't what its digests say.
    """
    try:
        files = FileDigests.model_validate_json(remote.manifest(key)).files
    except ValidationError as error:
        raise remote.damaged(key, f"{MANIFEST} can't be read: {error}") from error
    with scratch_directory(cache.directory, "shard") as partial:
        got = remote.get(key, partial, files)
        cache.adopt(partial)
    return got
