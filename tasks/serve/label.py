"""What a model call is for, beside the request: a context of the code that makes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallLabel:
    """What a call is for; travels beside the request and never in it."""

    purpose: str
    repeat: int = 0


_label: ContextVar[CallLabel] = ContextVar("ratchet_call_label")


def current_label() -> CallLabel:
    """The label of a call that would be made now."""
    return _label.get(CallLabel("unlabelled"))


@contextmanager
def calling(*, purpose: str | None = None, repeat: int | None = None) -> Iterator[None]:
    """Label every model call made in this block; what is None is kept from the block around it."""
    outer = current_label()
    token = _label.set(
        CallLabel(
            outer.purpose if purpose is None else purpose,
            outer.repeat if repeat is None else repeat,
        )
    )
    try:
        yield
    finally:
        _label.reset(token)
