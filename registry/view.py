"""Champion -> champion.json: what a serving application reads; the ledger stays the truth."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.store import locked, read_json, write_json


def sync_view(path: Path, current: Callable[[], dict[str, Any] | None]) -> bool:
    """Make the file say what the ledger says; True when it had to be changed.

    Args:
        path: `champion.json`.
        current: reads the champion from the ledger; None before the first promotion.
    """
    # The read is inside the lock: else a slow process could put an older champion back.
    with locked(path.with_name(f".{path.name}.lock")):
        wanted = current()
        if wanted is None:
            there = path.exists()
            path.unlink(missing_ok=True)
            return there
        if wanted == read_json(path):
            return False
        write_json(path, wanted)
        return True
