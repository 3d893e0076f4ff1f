"""A version that cannot read what a later one recorded: it is made so, checked, and replaced."""

import asyncio
from pathlib import Path

from eventdemo.audit import audit
from eventdemo.lab.simulation import steps as s
from eventdemo.lab.simulation.deployments import Deployment
from eventdemo.lab.simulation.trace import TracingEngine
from eventdemo.readmodels.read_models import ReadModels

#: How long the read models may take to reach the last event.
READ_MODELS_S = 60.0

Rewrite = tuple[bytes, bytes]


class LaterShapes:
    """The events of the pool that are in a shape of a later version at the moment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._rewrites: list[Rewrite] = []
        self._known = False

    def __bool__(self) -> bool:
        return bool(self._rewrites)

    def add_arrival(self, step: s.LaterEvent) -> None:
        """Makes an arrival of units one that only a later version reads."""
        rest = f'"product_id":"{step.product_id}","quantity":{step.quantity}}}'
        self._add(f'"type":"StockReceived",{rest}', f'"type":"StockReceived.later",{rest}')

    def add_all(self, fact: str) -> None:
        """Makes all facts of a kind that are recorded so far such ones."""
        self._add(f'"type":"{fact}"', f'"type":"{fact}.later"')

    def become_known(self) -> None:
        """Makes all of them readable again: the later version starts."""
        for old, new in reversed(self._rewrites):
            self._deployment.rewrite_events(new, old)
        self._rewrites, self._known = [], True

    def _add(self, today: str, later: str) -> None:
        if not self._known:
            self._rewrites.append((today.encode(), later.encode()))
            self._deployment.rewrite_events(*self._rewrites[-1])


async def broken_meanwhile(engine: TracingEngine, folder: Path) -> list[str]:
    """The promises that are broken by a version that cannot read everything."""
    read_models = ReadModels(folder)
    try:
        head = await engine.pool.head()
        reached = await read_models.reach(head, READ_MODELS_S) if head else True
        receipt = await audit(engine, read_models)
    finally:
        await read_models.close()
    broken = [f"Audit, rolled back: {line}" for line in receipt.broken]
    if not reached:
        broken.append(f"Rolled back, the read models do not reach position {head}.")
    return broken


async def broken_afterwards(read_models: ReadModels) -> list[str]:
    """The promise that what was set aside is taken in, once it can be read."""
    until_s = asyncio.get_running_loop().time() + READ_MODELS_S
    while streams := await read_models.streams_set_aside():
        if asyncio.get_running_loop().time() > until_s:
            return [f"{streams} streams can be read and are still set aside."]
        await asyncio.sleep(0.5)
    return []
