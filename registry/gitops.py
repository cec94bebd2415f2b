"""Champion -> a tracked YAML file: a promotion is a change that people review in a commit."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from registry.catalog import Catalog
from registry.ledger import PRODUCTION, LedgerEvent
from registry.rules import channel_of
from tasks.answer.release import Release
from tasks.errors import RegistryError
from tasks.store import locked, write_atomic

HEADER = """\
# The live release. Ratchet writes this file at each promotion and rollback; the ledger decides.
# To undo a promotion: ratchet rollback --why "...", then commit this file again.
"""


def sync_champion_file(catalog: Catalog, path: Path, *, lock: Path) -> bool:
    """Make a tracked file say which release is live; True when it had to be changed.

    Args:
        catalog: the registry.
        path: the YAML file; before the first promotion none is made.
        lock: file to hold meanwhile; outside of the repository, it is left behind.

    Raises:
        RegistryError: the file can't be written; the champion is what the ledger says.
    """
    # The ledger is read inside the lock: else a slow process could put an older champion back.
    with locked(lock):
        text = champion_yaml(catalog)
        if text is None:
            return False
        try:
            if path.is_file() and path.read_text(encoding="utf-8") == text:
                return False
            write_atomic(path, text)
        except OSError as error:
            raise RegistryError(
                f"The champion changed in the ledger, but {str(path)!r} can't be written: {error}.",
                next_step="Make it writable (registry.champion_file in configs/services.yaml); "
                "the next promotion, rollback or nightly run writes it.",
            ) from error
        return True


def champion_yaml(catalog: Catalog) -> str | None:
    """The tracked file's text; the same champion has the same bytes. None without a champion."""
    digest = catalog.champion_digest()
    if digest is None:
        return None
    event = next(
        event
        for event in reversed(catalog.history())
        if event.kind in ("promoted", "rolled_back")
        and channel_of(event) == PRODUCTION
        and event.subject == digest
    )
    out = io.StringIO()
    yaml = YAML()
    yaml.width = 4096  # a reason is one line, so that a diff shows it whole
    yaml.dump(_record(catalog.release(digest), event), out)
    return HEADER + out.getvalue()


def _record(release: Release, event: LedgerEvent) -> dict[str, Any]:
    return {
        "release": release.label,
        "digest": release.digest,
        "prompt": {"name": release.prompt.name, "digest": release.prompt.digest},
        "model": {"name": release.model.name, "digest": release.model.digest},
        "retrieval": release.retrieval.parameters(),
        "index": release.index_digest,
        "corpus": release.corpus_digest,
        "decision": event.detail.get("decision"),
        "how": event.kind.replace("_", " "),
        "replaced": event.detail.get("from"),
        "at": event.at,
        "who": event.who,
        "why": event.why,
    }
