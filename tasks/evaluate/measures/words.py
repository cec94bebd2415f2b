r"""Text -> the words that answers are compared by.

SQuAD's normalisation (Rajpurkar et al., 2016: lower case, no punctuation, no articles), except
that dots and underscores inside a name stay: `heapq.nsmallest` and `__init__` are one word each.
"""

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.evaluate.suite import Case

_ARTICLES = frozenset({"a", "an", "the"})
_WORD = re.compile(r"\w+(?:\.\w+)*")
_APOSTROPHES = str.maketrans("", "", "'’")


def words(text: str) -> tuple[str, ...]:
    """Words of a text in their order.

    A text without any word character, such as an operator, is split at blanks instead: it must
    still equal itself and nothing else. Articles count when there is nothing but articles.
    """
    plain = unicodedata.normalize("NFC", text).lower().translate(_APOSTROPHES)
    found = _WORD.findall(plain)
    kept = tuple(word for word in found if word not in _ARTICLES)
    return kept or tuple(found or plain.split() or text.lower().split())


def right_answers(case: "Case") -> tuple[tuple[str, ...], ...]:
    """Words of the reference and of every alias."""
    return tuple(words(text) for text in (case.reference, *case.aliases) if text.strip())
