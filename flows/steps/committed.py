"""Which code made a result -> whether it may promote."""

from flows.workspace import Workspace
from tasks.digest import SHORT
from tasks.errors import ConfigError
from tasks.evaluate.log import EvalManifest
from tasks.evaluate.provenance import is_clean, read_provenance


def could_be_clean(workspace: Workspace, manifest: EvalManifest) -> bool:
    """Whether an evaluation can't promote, but one by the code that is committed now could."""
    if not workspace.project.services.registry.require_clean or is_clean(
        manifest.git_commit, manifest.git_dirty
    ):
        return False
    return read_provenance(workspace.project.root).clean


def require_committed(workspace: Workspace) -> None:
    """Refuse to spend anything on a promotion that the registry wouldn't take.

    Raises:
        ConfigError: promotions need committed code, and this isn't.
    """
    if not workspace.project.services.registry.require_clean:
        return
    found = read_provenance(workspace.project.root)
    if found.clean:
        return
    what = (
        f"differ from commit {found.git_commit[:SHORT]}"
        if found.git_commit
        else "belong to no git commit"
    )
    raise ConfigError(
        f"Code, configs/ or data/suites/ in {str(workspace.project.root)!r} {what}; a promotion "
        "needs what anybody can find again (registry.require_clean).",
        next_step="Commit them. To only see the verdict: ratchet nightly --no-promote. To promote "
        "without a commit: require_clean: false in configs/services.yaml.",
    )
