"""A stored document -> what it says: one JSON file, checked when it is read."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from tasks.config import Settings
from tasks.errors import CorruptArtifact

S = TypeVar("S", bound=Settings)


def read_document(path: Path, model: type[S], *, what: str, next_step: str) -> S | None:
    """Read a document that was written as JSON; None when there is no such file.

    Args:
        path: the file.
        model: what it holds.
        what: the word for it in the error.
        next_step: how to get a good one.

    Raises:
        CorruptArtifact: it can't be read.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise CorruptArtifact(
            f"The {what} in {str(path)!r} can't be read: {error}.", next_step=next_step
        ) from error
