"""Nudges between processes: they may get lost, but they never fail what they tell about."""

import asyncio
import shutil
from pathlib import Path

import pytest

from eventdemo.engines.sqlite.neighbours import Neighbours, _folder_for


pytestmark = pytest.mark.anyio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "eventdemo.db"


async def heard(event: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await event.wait()
    event.clear()


async def test_news_reach_another_process(data: Path) -> None:
    one, other = Neighbours(data), Neighbours(data)
    news = other.subscribe("events")
    one.subscribe("anything")
    one.notify(["events"])
    await heard(news)
    one.close()
    other.close()


async def test_instances_divide_a_service_and_the_rest_take_over_from_one_that_left(
    data: Path,
) -> None:
    one, other = Neighbours(data), Neighbours(data)
    one.join("stock_check")
    other.join("stock_check")
    assert {one.share("stock_check"), other.share("stock_check")} == {(0, 2), (1, 2)}
    other.close()
    assert one.share("stock_check") == (0, 1)
    one.close()


async def test_a_swept_temporary_folder_is_made_again(data: Path) -> None:
    one, other = Neighbours(data), Neighbours(data)
    one.join("stock_check")
    other.join("stock_check")
    news = other.subscribe("events")
    shutil.rmtree(_folder_for(data))
    one.notify(["events"])  # nobody hears it, and nothing fails
    assert one.share("stock_check") == (0, 1)
    assert other.share("stock_check")[1] == 2
    assert one.share("stock_check")[1] == 2
    one.notify(["events"])
    await heard(news)
    one.close()
    other.close()
