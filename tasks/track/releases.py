"""Registered releases and their indexes -> MLflow's model registry, with the ledger's aliases."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tasks.answer.release import Release
from tasks.digest import SHORT, Digest
from tasks.index.manifest import MANIFEST, IndexVersion, load_version
from tasks.store import write_json
from tasks.track.connection import connected
from tasks.track.experiment import ensure_experiment
from tasks.track.prompts import DIGEST_TAG, ensure_prompt, registered_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_KINDS = {"release": "RAG release", "index": "Vector index"}
_RELEASES_NOTE = """Releases of prompt, index, model and retrieval parameters, as one model each.

`champion` is live, `previous` comes back with a rollback, `challenger` is judged or waits,
`staging` is what staging runs. The aliases follow Ratchet's ledger, which is the record: don't move
them here, `ratchet registry sync` puts them back.
"""
_INDEXES_NOTE = "Index versions. Releases name the one that they search."


@dataclass(frozen=True, slots=True)
class Names:
    """Where a registry is shown.

    Attributes:
        experiment: the experiment that holds the models.
        releases: registered model whose versions are releases.
    """

    experiment: str
    releases: str

    @property
    def indexes(self) -> str:
        """Registered model whose versions are indexes."""
        return f"{self.releases}-index"


@dataclass(frozen=True, slots=True)
class ShownReleases:
    """What `show_releases` changed."""

    added: tuple[Digest, ...]
    """Releases that MLflow didn't have."""
    moved: dict[str, Digest | None]
    """Release by alias that pointed elsewhere; None: the alias was removed."""


def show_releases(
    releases: Sequence[Release],
    aliases: Mapping[str, Digest | None],
    *,
    tracking_uri: str,
    names: Names,
    program: Path,
    index_directory: Callable[[Digest], Path],
    progress: Callable[[int, int], None] | None = None,
) -> ShownReleases:
    """Make MLflow's model registry say what the ledger says; what is there already stays.

    A release appears whole or not at all, and an alias moves only once its release is there. One
    process at a time, else two would add a release twice.

    Args:
        releases: all registered releases, oldest first: versions are numbered in this order.
        aliases: which release each alias names; None: the alias must not exist.
        tracking_uri: URL of the MLflow server.
        names: experiment and registered model.
        program: Python file that MLflow runs to load a release; a copy is stored with each.
        index_directory: where an index lies; one that isn't there is shown by its digest.
        progress: called with (done, total) releases.

    Raises:
        ServerUnavailable: MLflow doesn't answer; the next call goes on where this one stopped.
    """
    with connected(tracking_uri) as client:
        experiment_id = ensure_experiment(client, names.experiment)
        _ensure_registered_model(client, names.releases, _RELEASES_NOTE)
        _ensure_registered_model(client, names.indexes, _INDEXES_NOTE)
        known = _versions(client, names.releases)
        added = []
        for done, release in enumerate(releases, start=1):
            if release.digest not in known:
                shown = _Shown(client, experiment_id, names)
                known[release.digest] = shown.release(
                    release, program, index_directory(release.index_digest)
                )
                added.append(release.digest)
            if progress is not None:
                progress(done, len(releases))
        moved = _move_aliases(client, names.releases, aliases, known)
    return ShownReleases(tuple(added), moved)


def model_of(client: "MlflowClient", names: Names, release: Digest) -> str | None:
    """Id of the logged model that shows a release; None while MLflow hasn't got it."""
    version = find_version(client, names.releases, release)
    return None if version is None else _model_id(version)


def find_version(client: "MlflowClient", name: str, digest: Digest) -> "ModelVersion | None":
    """The version of a registered model with this content; the oldest, if there are several."""
    found = client.search_model_versions(f"name = '{name}' AND tag.`{DIGEST_TAG}` = '{digest}'")
    return min(found, key=lambda version: int(version.version), default=None)


def _versions(client: "MlflowClient", name: str) -> "dict[Digest, ModelVersion]":
    """All versions by digest, in as few requests as pages."""
    found: dict[Digest, Any] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        for version in sorted(page, key=lambda each: int(each.version), reverse=True):
            if digest := version.tags.get(DIGEST_TAG):
                found[digest] = version
        token = page.token
        if not token:
            return found


@dataclass(frozen=True, slots=True)
class _Shown:
    """Adds what isn't there."""

    client: "MlflowClient"
    experiment_id: str
    names: Names

    def release(self, release: Release, program: Path, index: Path) -> "ModelVersion":
        """Add a release as the next version, after its prompt and its index."""
        prompt = f"{registered_name(release.prompt)}/{ensure_prompt(self.client, release.prompt)}"
        lineage = {
            "ratchet.prompt": f"prompts:/{prompt}",
            "ratchet.index": f"models:/{self.names.indexes}/{self.index(release, index).version}",
            "ratchet.model": f"{release.model.name}@{release.model.digest[:SHORT]}",
            "ratchet.retrieval": json.dumps(release.retrieval.parameters()),
            "ratchet.corpus": release.corpus_digest,
        }
        with _pyfunc(release, program) as directory:
            return self._version(
                self.names.releases,
                "release",
                release.digest,
                directory,
                label=release.label,
                lineage=lineage,
            )

    def index(self, release: Release, directory: Path) -> "ModelVersion":
        """Find the version that shows an index, or add it with its manifest."""
        known = find_version(self.client, self.names.indexes, release.index_digest)
        if known is not None:
            return known
        lineage = {"ratchet.corpus": release.corpus_digest, "ratchet.embedding": release.embedding}
        with tempfile.TemporaryDirectory() as made:
            if (directory / MANIFEST).is_file():
                version = load_version(directory)
                lineage |= _counts(version)
                write_json(Path(made) / MANIFEST, version.model_dump(mode="json"))
            return self._version(
                self.names.indexes,
                "index",
                release.index_digest,
                Path(made),
                label=f"index@{release.index_digest[:SHORT]}",
                lineage=lineage,
            )

    def _version(
        self,
        name: str,
        kind: Literal["release", "index"],
        digest: Digest,
        directory: Path,
        *,
        label: str,
        lineage: dict[str, str],
    ) -> "ModelVersion":
        tags = {DIGEST_TAG: digest, "ratchet.label": label, **lineage}
        model_id = self._logged_model(kind, digest, directory, label=label, tags=tags)
        # The version comes last, with all of its tags: it is what readers look for.
        return self.client.create_model_version(
            name,
            source=f"models:/{model_id}",
            model_id=model_id,
            tags=tags,
            description=_description(label, lineage),
            await_creation_for=0,
        )

    def _logged_model(
        self, kind: str, digest: Digest, directory: Path, *, label: str, tags: dict[str, str]
    ) -> str:
        """Upload the files as a logged model, or find the one of a process that died after that."""
        wanted = f"tags.`{DIGEST_TAG}` = '{digest}' AND attributes.status = 'READY'"
        found = self.client.search_logged_models([self.experiment_id], filter_string=wanted)
        if found:
            return str(found[0].model_id)
        made = self.client.create_logged_model(
            self.experiment_id, name=label.replace("@", "-"), model_type=_KINDS[kind], tags=tags
        )
        self.client.log_model_artifacts(made.model_id, str(directory))
        self.client.finalize_logged_model(made.model_id, "READY")
        return str(made.model_id)


@contextmanager
def _pyfunc(release: Release, program: Path) -> Iterator[Path]:
    """A directory that `mlflow.pyfunc.load_model` loads: the release and a program, no pickle."""
    import mlflow

    with tempfile.TemporaryDirectory() as made:
        # Its name is its digest, by which a loader checks it.
        file = Path(made) / f"{release.digest}.json"
        write_json(file, release.model_dump(mode="json"))
        directory = Path(made) / "model"
        mlflow.pyfunc.save_model(
            directory,
            python_model=str(program),
            artifacts={"release": str(file)},
            # Ratchet itself is in no package registry: a release is served in its environment.
            pip_requirements=[f"mlflow=={mlflow.__version__}"],
            metadata={DIGEST_TAG: release.digest},
        )
        yield directory


def _description(label: str, lineage: Mapping[str, str]) -> str:
    """What a list of versions shows in its first line, and a version's page below it."""
    lines = [f"- {key.removeprefix('ratchet.')}: `{value}`" for key, value in lineage.items()]
    return "\n".join((label, "", *lines))


def _counts(version: IndexVersion) -> dict[str, str]:
    return {
        "ratchet.documents": str(version.n_documents),
        "ratchet.chunks": str(version.n_chunks),
        "ratchet.kind": version.index.kind,
    }


def _move_aliases(
    client: "MlflowClient",
    name: str,
    aliases: Mapping[str, Digest | None],
    known: "Mapping[Digest, ModelVersion]",
) -> dict[str, Digest | None]:
    now = {
        alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()
    }
    moved: dict[str, Digest | None] = {}
    for alias, digest in aliases.items():
        if digest is None:
            if alias in now:
                client.delete_registered_model_alias(name, alias)
                moved[alias] = None
        elif now.get(alias) != (version := str(known[digest].version)):
            client.set_registered_model_alias(name, alias, version)
            moved[alias] = digest
    return moved


def _ensure_registered_model(client: "MlflowClient", name: str, note: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name, description=note)


def _model_id(version: "ModelVersion") -> str:
    return str(version.source).removeprefix("models:/")
