"""Which version is live, who promoted it and why."""

from registry.budget import Budget, LookId, SpentLook
from registry.catalog import ReleaseRow
from registry.ledger import LedgerEvent
from registry.registry import Move, Registry

__all__ = ["Budget", "LedgerEvent", "LookId", "Move", "Registry", "ReleaseRow", "SpentLook"]
