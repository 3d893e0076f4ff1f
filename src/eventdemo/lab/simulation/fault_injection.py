"""Injects the faults of a plan into a world."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from eventdemo.errors import StorageBusy, StorageFull
from eventdemo.flow import TOPICS
from eventdemo.lab.simulation import steps as s
from eventdemo.lab.simulation.buyers import Clients, Server
from eventdemo.lab.simulation.deployments import Deployment
from eventdemo.lab.simulation.plan import Plan
from eventdemo.lab.simulation.process import Process

#: How long a process that is to die at a write is given to write that often.
WRITES_WITHIN_S = 10.0


class FaultTarget(Protocol):
    """A world, as far as faults reach into it."""

    plan: Plan
    deployment: Deployment
    clients: Clients
    running: dict[str, tuple[Server, asyncio.Event]]
    skews: dict[str, int]

    async def restart(self, name: str, after_s: float) -> None:
        """Starts a process again, after a while."""


async def inject(world: FaultTarget, step: s.Step) -> None:
    """Injects a fault, and returns when it is over."""
    await _DOES[type(step)](world, step)


async def _crash(world: FaultTarget, step: s.Crash) -> None:
    process = world.running[step.process][0].process
    process.die_at_write(step.at_write, done=step.done)
    await _until_dead(process)
    await world.restart(step.process, step.back_after_s)


async def _until_dead(process: Process) -> None:
    for _ in range(int(WRITES_WITHIN_S)):
        await asyncio.sleep(1.0)
        if not process.alive:
            return
    process.kill()


async def _kill(world: FaultTarget, step: s.Kill) -> None:
    world.running[step.process][0].process.kill()
    await world.restart(step.process, step.back_after_s)


async def _cut_power(world: FaultTarget, step: s.PowerCut) -> None:
    for name in world.plan.processes:
        world.running[name][0].process.kill()
    await asyncio.gather(*(world.restart(name, step.back_after_s) for name in world.plan.processes))


async def _stop(world: FaultTarget, step: s.Stop) -> None:
    server, stop = world.running[step.process]
    stop.set()
    await asyncio.sleep(step.back_after_s)
    server.process.kill()
    await world.restart(step.process, 0.0)


async def _pause(world: FaultTarget, step: s.Pause) -> None:
    await world.running[step.process][0].process.pause(step.seconds)


async def _fail(world: FaultTarget, step: s.Outage) -> None:
    kind = StorageFull if step.full else StorageBusy
    world.deployment.faults[step.part].fail_for(step.seconds, kind(step.part))
    await asyncio.sleep(step.seconds)


async def _lose_answer(world: FaultTarget, step: s.LostAnswer) -> None:
    world.deployment.faults[step.part].lose_answer()


async def _empty_cache(world: FaultTarget, step: s.CacheEmptied) -> None:
    world.deployment.empty_cache()


async def _delete_snapshots(world: FaultTarget, step: s.SnapshotsDeleted) -> None:
    world.deployment.delete_snapshots()


async def _inject_bytes(world: FaultTarget, step: s.CorruptMessage) -> None:
    body, promised = step.body, world.clients.promised()
    if b"%b" in body:
        if not promised:
            return
        body %= promised[-1].encode()
    world.deployment.inject_bytes(TOPICS[step.topic].name, body)


async def _set_clock(world: FaultTarget, step: s.ClockJump) -> None:
    one_machine = world.plan.deployment != "aws"
    for name in world.plan.processes if one_machine else [step.process]:
        world.skews[name] = int(step.seconds * 1_000_000)
        world.running[name][0].process.skew_us = world.skews[name]


_DOES: dict[type[s.Step], Callable[[FaultTarget, Any], Awaitable[None]]] = {
    s.Crash: _crash,
    s.Kill: _kill,
    s.PowerCut: _cut_power,
    s.Stop: _stop,
    s.Pause: _pause,
    s.Outage: _fail,
    s.LostAnswer: _lose_answer,
    s.CacheEmptied: _empty_cache,
    s.SnapshotsDeleted: _delete_snapshots,
    s.CorruptMessage: _inject_bytes,
    s.ClockJump: _set_clock,
}
