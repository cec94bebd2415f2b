"""Where a run happens: the project's settings, its state directory and its registry."""

import getpass
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from tasks.config import Project, Settings, load_project
from tasks.errors import ConfigError
from tasks.store import Home

if TYPE_CHECKING:
    from registry import Registry

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Workspace:
    """Settings and state that every step works on."""

    project: Project
    home: Home

    def registry(self, *, repair: bool = True) -> "Registry":
        """Open the registry; close it after use. Without `repair`, opening changes nothing."""
        # Re-indexing needs none, and loading SQLAlchemy takes longer than looking at every file.
        from registry import PromotionRules, Registry

        service = self.project.services.registry
        return Registry(
            service.url,
            self.home,
            repair=repair,
            rules=PromotionRules(
                require_clean=service.require_clean,
                production_from_staging=service.production_from_staging,
            ),
        )

    def write_champion_file(self, registry: "Registry") -> bool:
        """Make `registry.champion_file`, where one is set, say which release is live.

        Raises:
            RegistryError: it can't be written; the ledger has what was done.
        """
        name = self.project.services.registry.champion_file
        if name is None:
            return False
        from registry.gitops import sync_champion_file

        return sync_champion_file(
            registry,
            self.project.root / name,
            lock=self.home.path("run", "ratchet-champion-file.lock"),
        )


def find_root(start: Path | None = None) -> Path:
    """The project's directory: `RATCHET_PROJECT`, or the nearest one above that has `configs/`.

    Raises:
        ConfigError: there is none.
    """
    configured = os.environ.get("RATCHET_PROJECT")
    begin = Path(configured) if configured else (start or Path.cwd())
    for directory in (begin.resolve(), *begin.resolve().parents):
        if (directory / "configs" / "release.yaml").is_file():
            return directory
    raise ConfigError(
        f"No Ratchet project at or above {str(begin)!r}; expected configs/release.yaml.",
        next_step="Run the command in the project's directory, or set RATCHET_PROJECT.",
    )


def open_workspace(
    *,
    release: str | None = None,
    prompt: str | None = None,
    top_k: int | None = None,
    cases: int | None = None,
    offline: bool = False,
) -> Workspace:
    """Read the settings and apply what this run changes.

    Args:
        release: another release file than `configs/release.yaml`, relative to the project.
        prompt: another prompt than the release file names.
        top_k: another number of passages.
        cases: evaluate only so many cases.
        offline: ask an engine that runs for this alone, where Ratchet starts the model's server.

    Raises:
        ConfigError: a setting is wrong.
    """
    root = find_root()
    project = load_project(root, release=root / release if release else None)
    wanted = project.release
    if prompt is not None:
        wanted = wanted.model_copy(update={"prompt": prompt})
    if top_k is not None:
        retrieval = _changed(wanted.retrieval, "top_k", top_k)
        wanted = wanted.model_copy(update={"retrieval": retrieval})
    evaluate = project.evaluate
    if cases is not None:
        evaluate = _changed(evaluate, "cases", cases)
    services = project.services
    if offline:
        vllm = services.vllm.model_copy(update={"offline": True})
        services = services.model_copy(update={"vllm": vllm})
    changes = {"release": wanted, "evaluate": evaluate, "services": services}
    return Workspace(
        project=project.model_copy(update=changes),
        home=Home.find(root),
    )


def actor() -> str:
    """Who runs this, for the ledger."""
    if configured := os.environ.get("RATCHET_ACTOR"):
        return configured
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user that has no name.
        return f"user {os.getuid()}"


def _changed(settings: S, field: str, value: object) -> S:
    """The settings with another value, validated: model_copy would take a top_k of 0."""
    try:
        return type(settings).model_validate(settings.model_dump() | {field: value})
    except ValidationError as error:
        raise ConfigError(
            f"{field} is {value!r}: {error.errors()[0]['msg']}.",
            next_step=f"Give another {field}.",
        ) from error
