import asyncio

from tasks.serve.endpoint import Endpoint
from tasks.serve.governor import Governor
from tasks.serve.label import CallLabel
from tasks.serve.stream import Stream


def label(position: int, depth: int = 0) -> CallLabel:
    return CallLabel("judge", position=position, depth=depth)


async def order_of(*calls: tuple[CallLabel, str]) -> list[str]:
    """The order in which calls leave that arrived in the given order, one at a time."""
    stream = Stream([Endpoint("http://one", Governor(limit=1, cap=1, fixed=True))])
    left: list[str] = []

    async def call(of: CallLabel, prompt: str) -> None:
        async with stream.turn(of, prompt):
            left.append(prompt)
            await asyncio.sleep(0)

    await asyncio.gather(*(call(*each) for each in calls))
    assert stream.in_flight == stream.waiting == 0
    return left


async def test_calls_of_one_case_leave_together_and_those_that_begin_alike_are_neighbours():
    calls = [
        (label(1), "context 1: precision"),
        (label(0), "context 0: recall"),
        (label(1), "other 1"),
        (label(0), "other 0"),
        (label(0), "context 0: precision"),
    ]
    assert await order_of(*calls) == [
        "context 0: precision",
        "context 0: recall",
        "other 0",
        "context 1: precision",
        "other 1",
    ]


async def test_a_call_that_waited_for_another_overtakes_the_cases_behind_and_its_own_case():
    calls = [(label(2), "fresh 2"), (label(1), "a fresh 1"), (label(1, 1), "dependent 1")]
    assert await order_of(*calls) == ["dependent 1", "a fresh 1", "fresh 2"]


async def test_a_cancelled_call_gives_its_place_away():
    stream = Stream([Endpoint("http://one", Governor(limit=1, cap=1, fixed=True))])

    async def call(seconds: float) -> None:
        async with stream.turn(label(0), ""):
            await asyncio.sleep(seconds)

    holding = asyncio.create_task(call(10))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(call(0))
    await asyncio.sleep(0.01)
    waiting.cancel()
    holding.cancel()
    await asyncio.gather(holding, waiting, return_exceptions=True)
    assert stream.in_flight == 0
    await asyncio.wait_for(call(0), 30)


async def test_never_are_more_in_flight_than_the_governor_allows():
    stream = Stream([Endpoint("http://one", Governor(limit=3, cap=3, fixed=True))])

    async def call() -> None:
        async with stream.turn(label(0), ""):
            await asyncio.sleep(0.001)

    await asyncio.gather(*(call() for _ in range(20)))
    assert stream.most_in_flight == 3
