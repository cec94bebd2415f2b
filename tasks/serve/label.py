"""What a model call is for, beside the request: a context of the code that makes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.serve.journal import Journal
    from tasks.serve.meter import Meter


@dataclass(frozen=True, slots=True)
class CallLabel:
    """What a call is for; travels beside the request and never in it."""

    purpose: str
    repeat: int = 0
    position: int | None = None
    """Of its case in the suite: calls of one case go to the server together. None: of no case."""
    depth: int = 0
    """How many answers it had to wait for."""
    avoided: frozenset[str] = frozenset()
    """URLs of servers that get it only when no other is there."""
    meter: "Meter | None" = None
    """Counts the call beside the door's own meter: that of one evaluation among several."""
    journal: "Journal | None" = None
    """Keeps the call, so that it can be repeated."""


_label: ContextVar[CallLabel] = ContextVar("ratchet_call_label")


def current_label() -> CallLabel:
    """The label of a call that would be made now."""
    return _label.get(CallLabel("unlabelled"))


@contextmanager
def calling(**changes: Any) -> Iterator[None]:
    """Label every model call made in this block.

    Args:
        changes: fields of `CallLabel`; the others, and what is None, are kept from the block around
            it.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    token = _label.set(replace(current_label(), **given))
    try:
        yield
    finally:
        _label.reset(token)
