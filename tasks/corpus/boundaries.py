"""Pieces -> where to cut: places that the text itself picks, so an edit moves only near ones."""

import bisect
import hashlib
import itertools
from collections.abc import Callable, Sequence

from tasks.corpus.pieces import Piece, Rank

Priority = tuple[int, int, int]
"""Rank, hash of the piece that follows, hash of the next few: by these, places are compared."""

_FOLLOWING = 4
_RADIUS = 2.0
"""Passages on both sides of a place in which no better one may be, for it to be a sure cut."""
_LEAST = 0.6
"""Part of a passage that is filled before a heading or paragraph may end it early."""


def choose_cuts(
    text: str, pieces: Sequence[Piece], limit: int, fits: Callable[[int, int], bool]
) -> list[tuple[int, int]]:
    """Group pieces into passages.

    A place where no other within two passages is better is a cut, whatever the rest of the text
    says: places are compared by their rank (heading, paragraph, sentence) and then by a hash of
    the words that follow, as in content-defined chunking by local maxima (Bjørner, Blass and
    Gurevich 2010, "Content-dependent chunking for differential compression, the local maximum
    approach"). Between two such cuts passages are filled up one after the other, and end a little
    early where that is at a better place. So an edit changes no passage behind the next sure cut.

    Args:
        text: that the pieces are of.
        pieces: all of them, in order.
        limit: tokens of a passage.
        fits: whether pieces [first, last) have no more tokens together, which isn't always the
            sum of theirs; asked only where the sum does.

    Returns:
        Ranges [first, last) of pieces, one after the other.
    """
    priorities = _priorities(text, pieces)
    before = [0]
    for piece in pieces:
        before.append(before[-1] + piece.tokens)

    def is_one(first: int, last: int) -> bool:
        return last - first == 1 or (before[last] - before[first] <= limit and fits(first, last))

    edges = [0, *_local_maxima(priorities, before, _RADIUS * limit), len(pieces)]
    groups = []
    for start, last in itertools.pairwise(edges):
        first = start
        while not is_one(first, last):
            cut = _next_cut(priorities, before, first, last, limit)
            while not is_one(first, cut):
                cut -= 1
            groups.append((first, cut))
            first = cut
        groups.append((first, last))
    return groups


def _priorities(text: str, pieces: Sequence[Piece]) -> list[Priority]:
    hashes = [_hash(text[piece.start : piece.end].strip().encode()) for piece in pieces]
    # Of equal sentences, those that go on differently are told apart.
    following = [
        _hash(b"".join(value.to_bytes(8) for value in hashes[i : i + _FOLLOWING]))
        for i in range(len(pieces))
    ]
    return [
        (piece.rank, one, more) for piece, one, more in zip(pieces, hashes, following, strict=True)
    ]


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def _local_maxima(
    priorities: Sequence[Priority], before: Sequence[int], radius: float
) -> list[int]:
    """Places that are better than all others within `radius` tokens, ends of the text included."""
    n = len(priorities)
    found = []
    for place in range(1, n):
        here, priority = before[place], priorities[place]
        if here < radius or before[n] - here < radius:
            continue
        left = place - 1
        while left > 0 and here - before[left] < radius and priorities[left] < priority:
            left -= 1
        right = place + 1
        while right < n and before[right] - here < radius and priorities[right] <= priority:
            right += 1
        clear_left = left == 0 or here - before[left] >= radius
        if clear_left and (right == n or before[right] - here >= radius):
            found.append(place)
    return found


def _next_cut(
    priorities: Sequence[Priority], before: Sequence[int], first: int, last: int, limit: int
) -> int:
    """Where the first passage ends of a range that is too long for one."""
    total = before[last] - before[first]
    is_for_two = total <= 2 * limit

    def size(place: int) -> int:
        return before[place] - before[first]

    def key(place: int) -> tuple[int, int]:
        evenness = -abs(2 * size(place) - total)
        return priorities[place][0], evenness if is_for_two else size(place)

    smallest = _LEAST * limit / 2
    low, high = _LEAST * limit, float(limit)
    if is_for_two:
        low, high = max(total - limit, smallest), min(limit, total - smallest)
    beyond = bisect.bisect_right(before, before[first] + limit, first, last)
    places = range(first + 1, max(beyond, first + 2))
    # A section of its own is worth one more passage.
    sections = [
        place
        for place in places
        if priorities[place][0] >= Rank.HEADING and smallest <= size(place) <= limit
    ]
    good = sections or [place for place in places if low <= size(place) <= high]
    if good:
        return max(good, key=key)
    # A heading at the end of a passage says nothing about it.
    kept_together = [place for place in places if priorities[place][0] != Rank.AFTER_HEADING]
    return (kept_together or places)[-1]
