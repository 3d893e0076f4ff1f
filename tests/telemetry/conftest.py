"""An engine in memory, a meter, and a flow one of whose boxes can be made to fail."""

from collections.abc import AsyncIterator, Sequence
from types import ModuleType
from typing import Any

import msgspec
import pytest

from eventdemo.facts import Fact
from eventdemo.flow import FLOW, Row
from eventdemo.ports import Engine
from eventdemo.runtime.wiring import open_embedded
from eventdemo.telemetry.instruments import Meter


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = await open_embedded(None)
    yield engine
    await engine.close()


@pytest.fixture
def meter() -> Meter:
    return Meter()


def raising(service: str, product_id: str = "poison", times: int = 1_000) -> list[Row]:
    """The flow where one service raises for one product, so many times."""
    (healthy,) = (row.decide for row in FLOW if row.service == service)
    left = times

    def decide(message: Any, *states: Any) -> Sequence[Fact]:
        nonlocal left
        if message.product_id == product_id and left:
            left -= 1
            raise RuntimeError(f"{product_id} is bad")
        return healthy(message, *states)

    module = ModuleType(f"poisoned.{service}")
    module.decide = decide  # type: ignore[attr-defined]
    return [
        msgspec.structs.replace(row, module=module) if row.service == service else row
        for row in FLOW
    ]
