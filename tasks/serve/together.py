"""Several calls at once, as one."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def together(
    work: Sequence[Coroutine[Any, Any, T]], *, each_pass: int | None = None
) -> list[T]:
    """Run all; at the first error cancel the rest and raise that error itself, not a group.

    Args:
        work: what to run.
        each_pass: how many begin in one pass of the event loop, so that the first ones' calls are
            on their way while the last ones are prepared; None: all of them.

    Returns:
        Results in the order of `work`.
    """
    running: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                running.append(group.create_task(coroutine))
                if each_pass and len(running) % each_pass == 0:
                    await asyncio.sleep(0)
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        # Its own cause and not the group: an error that is part of its cause can't be printed.
        raise first from first.__cause__
    finally:
        for coroutine in work[len(running) :]:
            coroutine.close()
    return [task.result() for task in running]
