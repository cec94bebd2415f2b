import asyncio

import pytest

from benchmarks.flow_items import plain, through_the_stream


@pytest.mark.parametrize("way", [plain, through_the_stream])
def test_each_way_gives_every_item_in_its_order(way):
    assert asyncio.run(way(200)) == list(range(200))
