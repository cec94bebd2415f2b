"""A place in a document -> its title and the headings that it stands under."""

from collections.abc import Callable

from tasks.corpus.document import Document
from tasks.corpus.structure import Block

SEPARATOR = " > "


class HeadingPaths:
    """Answers for growing positions in one document.

    Args:
        document: whose headings.
        limit: tokens that a title may have with headings; the outermost ones are left out first.
        count_tokens: how many tokens a text has.
    """

    def __init__(self, document: Document, limit: int, count_tokens: Callable[[str], int]) -> None:
        self._document = document
        self._limit = limit
        self._count_tokens = count_tokens
        self._coming = [block for block in reversed(document.blocks) if block.kind == "heading"]
        self._open: list[Block] = []

    def title_at(self, position: int) -> str:
        """The title of a passage that starts here, which may be a heading's first character."""
        while self._coming and self._coming[-1].start <= position:
            block = self._coming.pop()
            while self._open and self._open[-1].level >= block.level:
                self._open.pop()
            self._open.append(block)
        text = self._document.text
        names = [
            " ".join(text[block.start : block.end].split())
            for block in self._open
            # The heading that a passage starts with is in its text.
            if block.start != position
        ]
        title = self._document.title
        names = [name for name in names if name != title]
        while names:
            found = SEPARATOR.join([title, *names])
            if self._count_tokens(found) <= self._limit:
                return found
            del names[0]
        return title
