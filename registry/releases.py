"""Release -> releases/<digest>.json: immutable files, and names that people can type."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from tasks.answer.release import Release
from tasks.digest import SHORT, Digest
from tasks.errors import CorruptArtifact, RegistryError
from tasks.store import write_json


class ReleaseFiles:
    """One JSON file a release, named by its digest; a file that exists is never written again."""

    def __init__(self, room: Path) -> None:
        self._room = room

    def path(self, digest: Digest) -> Path:
        """Where a release is, or would be."""
        return self._room / f"{digest}.json"

    def save(self, release: Release) -> Digest:
        """Write a release whole or not at all; the first one of a digest stays."""
        path = self.path(release.digest)
        if not path.is_file():
            write_json(path, release.model_dump(mode="json"))
        return release.digest

    def load(self, digest: Digest) -> Release | None:
        """Read a release; None when it has no file here.

        Raises:
            CorruptArtifact: the file isn't the release that its name says.
        """
        path = self.path(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        return parse_release(content, digest=digest, where=str(path))


def parse_release(content: bytes, *, digest: Digest, where: str) -> Release:
    """Read a release's JSON and check that it is the one that was asked for.

    Raises:
        CorruptArtifact: it isn't a release, or another one.
    """
    next_step = f"Remove {where}; the ledger holds its content too and restores it."
    try:
        release = Release.model_validate_json(content)
    except ValidationError as error:
        raise CorruptArtifact(
            f"{where} is not a release: {error.error_count()} wrong field(s), the first is "
            f"{'.'.join(str(part) for part in error.errors()[0]['loc']) or 'the file'!r}.",
            next_step=next_step,
        ) from error
    if release.digest != digest:
        raise CorruptArtifact(
            f"{where} holds release {release.digest!r}, not {digest!r}: it was changed.",
            next_step=next_step,
        )
    return release


def resolve(
    name: str,
    *,
    labels: Mapping[Digest, str],
    what: str = "release",
    see: str = "ratchet releases",
) -> Digest:
    """Find the one digest that a typed name means.

    Args:
        name: a digest, the start of one, or a label such as `answer@0123456789ab`.
        labels: label of every known digest; empty where it has none.
        what: the word for such a thing in the error.
        see: the command that lists them.

    Raises:
        RegistryError: nothing, or more than one thing, is called this.
    """
    typed = name.strip()
    exact = [digest for digest, label in labels.items() if typed in (digest, label)]
    start = typed.lower()
    found = exact or [digest for digest in labels if start and digest.startswith(start)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RegistryError(
            f"{name!r} means {len(found)} {what}s: {_listed(found, labels)}.",
            next_step="Type more characters of the digest.",
            candidates=tuple(found),
        )
    raise RegistryError(
        f"There is no {what} {name!r}; "
        + (f"the newest are {_listed(list(labels)[-5:], labels)}." if labels else "none is known."),
        next_step=f"See what there is: {see}",
        candidates=(),
    )


def _listed(digests: Iterable[Digest], labels: Mapping[Digest, str]) -> str:
    return ", ".join(labels[digest] or digest[:SHORT] for digest in digests)
