"""Pieces -> where to cut: places that the text itself picks, so an edit moves only near ones."""

import hashlib
from collections.abc import Callable, Sequence

from tasks.corpus.pieces import Piece

Priority = tuple[int, int, int]
"""Rank, hash of the piece that follows, hash of the next few: by these, places are compared."""

_FOLLOWING = 4
_SMALLEST = 0.25


def choose_cuts(
    text: str, pieces: Sequence[Piece], limit: int, fits: Callable[[int, int], bool]
) -> list[tuple[int, int]]:
    """Group pieces into passages.

    A place where no other within half a passage is better is a cut, whatever the rest of the
    text says: places are compared by their rank (heading, paragraph, sentence) and then by a hash
    of the words that follow, as in content-defined chunking by local maxima (Bjørner, Blass and
    Gurevich 2010, "Content-dependent chunking for differential compression, the local maximum
    approach"). What lies between two such cuts and doesn't fit is cut again at its best place,
    leaving at least a quarter of a passage on both sides where that is possible.

    Args:
        text: that the pieces are of.
        pieces: all of them, in order.
        limit: tokens of a passage.
        fits: whether pieces [first, last) may be one passage; a single piece always is.

    Returns:
        Ranges [first, last) of pieces, one after the other.
    """
    priorities = _priorities(text, pieces)
    before = [0]
    for piece in pieces:
        before.append(before[-1] + piece.tokens)
    edges = [0, *_local_maxima(priorities, before, limit / 2), len(pieces)]
    groups = []
    pending = [(edges[i], edges[i + 1]) for i in range(len(edges) - 1)]
    pending.reverse()
    while pending:
        first, last = pending.pop()
        if last - first == 1 or fits(first, last):
            groups.append((first, last))
        else:
            cut = _best_cut(priorities, before, first, last, limit)
            pending += [(cut, last), (first, cut)]
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


def _best_cut(
    priorities: Sequence[Priority], before: Sequence[int], first: int, last: int, limit: int
) -> int:
    total = before[last] - before[first]
    margin = min(_SMALLEST * limit, total / 2)

    def sides(place: int) -> tuple[int, int]:
        return before[place] - before[first], before[last] - before[place]

    places = range(first + 1, last)
    wide = [place for place in places if min(sides(place)) >= margin]
    # Two passages are better than three.
    halves = [place for place in wide if max(sides(place)) <= limit]
    return max(
        halves or wide or places,
        key=lambda place: (*(priorities[place] if wide else ()), min(sides(place))),
    )
