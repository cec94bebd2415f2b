"""Which version is live, who promoted it and why."""

from registry.catalog import ReleaseRow
from registry.ledger import LedgerEvent
from registry.registry import Move, Registry

__all__ = ["LedgerEvent", "Move", "Registry", "ReleaseRow"]
