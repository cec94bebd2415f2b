"""Which version is live, who promoted it and why."""

from registry.budget import Budget, LookId, SpentLook
from registry.catalog import ReleaseRow
from registry.consumer import Champion, LiveRelease, watch_champion
from registry.ledger import CHANNELS, PRODUCTION, Channel, LedgerEvent
from registry.registry import Move, Registry
from registry.rules import PromotionRules
from registry.verify import Misfit, Verification, evaluation_content

__all__ = [
    "CHANNELS",
    "PRODUCTION",
    "Budget",
    "Champion",
    "Channel",
    "LedgerEvent",
    "LiveRelease",
    "LookId",
    "Misfit",
    "Move",
    "PromotionRules",
    "Registry",
    "ReleaseRow",
    "SpentLook",
    "Verification",
    "evaluation_content",
    "watch_champion",
]
