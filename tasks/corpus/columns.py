"""Python values -> Arrow columns, without pandas.

`pyarrow.array` loads pandas where it is installed, to ask whether a value is one of its own. That
takes longer than all the rest of a night on which a few documents were changed.
"""

from array import array
from collections.abc import Iterable, Sequence, Sized
from itertools import accumulate
from typing import Any

_LONGEST = 2**31 - 1


def strings(values: Iterable[str], kind: Any = None) -> Any:
    """A column of texts.

    Args:
        values: none of them is missing.
        kind: `pyarrow.string()`, the default, or `pyarrow.large_string()`.

    Raises:
        pyarrow.ArrowCapacityError: a column of this kind can't hold so much text.
        UnicodeEncodeError: a text has no UTF-8.
    """
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    is_large = kind == pa.large_string()
    offsets = array(
        "q" if is_large else "i", _ends(encoded, longest=None if is_large else _LONGEST)
    )
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind or pa.string(), len(encoded), buffers)


def held_integers(held: Any) -> Any:
    """A column of the integers that a contiguous buffer of 64 bits each holds; not copied."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(held), [None, pa.py_buffer(held)])


def integers(values: Iterable[int], kind: Any = None) -> Any:
    """A column of integers, none of them missing; `kind` is `pyarrow.int64()` or narrower."""
    column = held_integers(array("q", values))
    return column if kind is None else column.cast(kind)


def offsets_of(rows: Iterable[Sized]) -> Any:
    """Where each of several lists begins in all of them together, and where the last one ends."""
    import pyarrow as pa

    return integers(_ends(rows, longest=_LONGEST), pa.int32())


def _ends(rows: Iterable[Sized], *, longest: int | None) -> Sequence[int]:
    import pyarrow as pa

    ends = list(accumulate(map(len, rows), initial=0))
    if longest is not None and ends[-1] > longest:
        raise pa.ArrowCapacityError(f"{ends[-1]:,} bytes or items in a column for {longest:,}")
    return ends
