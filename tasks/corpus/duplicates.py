"""Documents of all sources in order -> which of them are there already."""

from tasks.corpus.document import Problem
from tasks.digest import Digest


class Duplicates:
    """Remembers ids of all sources, and texts of each source by itself."""

    def __init__(self) -> None:
        self._source_of: dict[str, str] = {}
        self._first_with_text: dict[tuple[str, Digest], str] = {}

    def check(self, doc_id: str, text_digest: Digest, *, source: str) -> Problem | None:
        """The problem with a document whose id or text was there before, else None."""
        if (other := self._source_of.get(doc_id)) is not None:
            detail = f"The source {other!r} has a document with this id already."
            return Problem(source, doc_id, "duplicate", detail)
        first = self._first_with_text.setdefault((source, text_digest), doc_id)
        if first != doc_id:
            detail = f"Its text is the same as that of {first!r}."
            return Problem(source, doc_id, "duplicate", detail)
        self._source_of[doc_id] = source
        return None
