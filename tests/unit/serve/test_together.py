import asyncio

import pytest

from tasks.serve.together import together


async def test_results_come_in_the_order_of_the_work():
    async def one(number: int) -> int:
        await asyncio.sleep(0 if number % 2 else 0.001)
        return number

    assert await together([one(number) for number in range(7)], each_pass=2) == list(range(7))


async def test_what_begins_first_goes_on_before_the_last_begins():
    happened = []

    async def one(number: int) -> None:
        happened.append(f"{number} begins")
        await asyncio.sleep(0)
        happened.append(f"{number} goes on")

    await together([one(number) for number in range(20)], each_pass=2)
    assert happened.index("0 goes on") < happened.index("19 begins")


async def test_an_error_ends_all_and_nothing_is_left_that_never_began():
    begun = []

    async def one(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError("the second")
        await asyncio.sleep(60)

    # A coroutine that is never awaited would be a warning, and warnings are errors.
    with pytest.raises(ValueError, match="the second"):
        await together([one(number) for number in range(100)], each_pass=2)
    assert len(begun) < 100
