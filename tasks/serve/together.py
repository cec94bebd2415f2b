"""Several calls at once, as one."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all; at the first error cancel the rest and raise that error itself, not a group."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(coroutine) for coroutine in work]
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        # Its own cause and not the group: an error that is part of its cause can't be printed.
        raise first from first.__cause__
    return [task.result() for task in running]
