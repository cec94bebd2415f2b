"""What goes wrong, on order: one fault for one request."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """Refuse with an HTTP status."""

    code: int
    retry_after: str | None = None
    message: str = "refused on order"


@dataclass(frozen=True)
class Malformed:
    """Answer with a text that is no JSON, whatever schema was asked for."""

    text: str = 'Sure! {"verdict": maybe'


@dataclass(frozen=True)
class BrokenBody:
    """Answer 200 with a body that isn't JSON, as a proxy between does."""

    body: bytes = b"<html>502</html>"


@dataclass(frozen=True)
class LengthCut:
    """Cut the answer in its middle, `finish_reason: length`."""


@dataclass(frozen=True)
class Refusal:
    """No content, and a refusal, as OpenAI's protocol has it."""

    text: str = "I can't help with that."


@dataclass(frozen=True)
class Hang:
    """Send nothing for so many seconds, then close the connection."""

    seconds: float = 3_600.0


@dataclass(frozen=True)
class SlowBody:
    """Send the answer in pieces, so many seconds apart."""

    pause_s: float
    pieces: int = 4


@dataclass(frozen=True)
class HangingBody:
    """Send the first half of the answer, then nothing."""

    seconds: float = 3_600.0


@dataclass(frozen=True)
class Restart:
    """Die with every request in flight, and come back after a while with an empty cache."""

    away_s: float = 0.2


Fault = (
    Status | Malformed | BrokenBody | LengthCut | Refusal | Hang | SlowBody | HangingBody | Restart
)
