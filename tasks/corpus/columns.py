"""Python values -> Arrow columns, without pandas.

`pyarrow.array` and `to_numpy` load pandas where it is installed, to ask whether a value is one of
its own. That takes longer than all the rest of a night on which a few documents changed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def strings(values: Sequence[str], kind: Any = None) -> Any:
    """A column of texts; `kind` is `pyarrow.string()`, the default, or `pyarrow.large_string()`.

    Raises:
        pyarrow.ArrowCapacityError: they are longer together than a column of this kind can be.
    """
    import pyarrow as pa

    kind = kind or pa.string()
    encoded = [value.encode() for value in values]
    wide = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(value) for value in encoded], out=wide[1:])
    offsets: NDArray[Any] = wide
    if kind != pa.large_string():
        if wide[-1] > np.iinfo(np.int32).max:
            raise pa.ArrowCapacityError(f"{wide[-1]:,} bytes of text in a column of {kind}")
        offsets = wide.astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind, len(encoded), buffers)


def integers(values: Sequence[int] | NDArray[np.int64], kind: Any = None) -> Any:
    """A column of integers; `kind` is `pyarrow.int64()`, the default, or a narrower type."""
    import pyarrow as pa

    column = np.ascontiguousarray(values, dtype=np.int64)
    found = pa.Array.from_buffers(pa.int64(), len(column), [None, pa.py_buffer(column)])
    return found if kind is None else found.cast(kind)


def offsets_of(rows: Sequence[Sequence[Any]]) -> Any:
    """Where each of several lists begins in all of them together, and where the last one ends."""
    import pyarrow as pa

    ends = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=ends[1:])
    return integers(ends, pa.int32())


def marks(column: Any) -> NDArray[np.bool_]:
    """A column of truth values without nulls as an array."""
    import pyarrow as pa

    bytes_ = column.cast(pa.uint8())
    found = np.frombuffer(bytes_.buffers()[1], dtype=np.uint8, count=len(bytes_))
    return found.astype(np.bool_)
