"""Whether an index holds what the documents say now: nothing lost, nothing stale, nothing twice."""

from collections import Counter
from collections.abc import Hashable, Iterable


def compare(wanted: Iterable[Hashable], stored: Iterable[Hashable]) -> dict[str, int]:
    """Count chunks that are missing, that should be gone, and that are there too often.

    Args:
        wanted: (document, chunk) for each chunk of a build from nothing.
        stored: the same of what the index holds.
    """
    should, found = Counter(wanted), Counter(stored)
    return {
        "chunks": found.total(),
        "lost": (should - found).total(),
        "stale": sum(n for chunk, n in found.items() if chunk not in should),
        "twice": sum(n - should[chunk] for chunk, n in found.items() if n > should[chunk] > 0),
    }


def is_right(checked: dict[str, int]) -> bool:
    """Whether nothing is lost, stale or twice."""
    return not (checked["lost"] or checked["stale"] or checked["twice"])
