"""Injects the faults of a plan into a world."""

import asyncio
from pathlib import Path
from typing import Protocol

from eventdemo.errors import StorageBusy, StorageFull
from eventdemo.flow import TOPICS
from eventdemo.lab.simulation import steps as s
from eventdemo.lab.simulation.buyers import Clients, Server
from eventdemo.lab.simulation.deployments import Deployment
from eventdemo.lab.simulation.plan import Plan
from eventdemo.lab.simulation.process import Process
from eventdemo.lab.simulation.rollback import LaterShapes

#: How long a process that is to die at a write is given to write that often.
WRITES_WITHIN_S = 10.0


class FaultTarget(Protocol):
    """A world, as far as faults reach into it."""

    plan: Plan
    deployment: Deployment
    clients: Clients
    running: dict[str, tuple[Server, asyncio.Event]]
    skews: dict[str, int]
    later_shapes: LaterShapes
    read_models: Path

    async def restart(self, name: str, after_s: float) -> None:
        """Starts a process again, after a while."""


async def inject(world: FaultTarget, step: s.Step) -> None:
    """Injects a fault, and returns when it is over."""
    match step:
        case s.Crash():
            process = world.running[step.process][0].process
            process.die_at_write(step.at_write, done=step.done)
            await _until_dead(process)
            await world.restart(step.process, step.back_after_s)
        case s.Kill():
            world.running[step.process][0].process.kill()
            await world.restart(step.process, step.back_after_s)
        case s.PowerCut():
            names = world.plan.processes
            for name in names:
                world.running[name][0].process.kill()
            await asyncio.gather(*(world.restart(name, step.back_after_s) for name in names))
        case s.Stop():
            server, stop = world.running[step.process]
            stop.set()
            await asyncio.sleep(step.back_after_s)
            server.process.kill()
            await world.restart(step.process, 0.0)
        case s.Pause():
            await world.running[step.process][0].process.pause(step.seconds)
        case s.ClockJump():
            one_machine = world.plan.deployment != "aws"
            for name in world.plan.processes if one_machine else [step.process]:
                world.skews[name] = int(step.seconds * 1_000_000)
                world.running[name][0].process.skew_us = world.skews[name]
        case s.LaterEvent() | s.Rollback():
            await _make_unreadable(world, step)
        case _:
            await _inject_into_parts(world, step)


async def _make_unreadable(world: FaultTarget, step: s.LaterEvent | s.Rollback) -> None:
    if isinstance(step, s.LaterEvent):
        await world.clients.restock(f"later-{step.number}", step.product_id, step.quantity)
        world.later_shapes.add_arrival(step)
        return
    for name in world.plan.processes:
        world.running[name][0].process.kill()
    await asyncio.sleep(step.back_after_s)
    world.later_shapes.add_all(step.fact)
    (world.read_models / "current").unlink(missing_ok=True)
    await asyncio.gather(*(world.restart(name, 0.0) for name in world.plan.processes))


async def _inject_into_parts(world: FaultTarget, step: s.Step) -> None:
    deployment = world.deployment
    match step:
        case s.Outage():
            kind = StorageFull if step.full else StorageBusy
            deployment.faults[step.part].fail_for(step.seconds, kind(step.part))
            await asyncio.sleep(step.seconds)
        case s.LostAnswer():
            deployment.faults[step.part].lose_answer()
        case s.CacheEmptied():
            deployment.empty_cache()
        case s.SnapshotsDeleted():
            deployment.delete_snapshots()
        case s.CorruptMessage():
            _inject_bytes(world, step)
        case _:
            raise TypeError(f"{step} is no fault")


async def _until_dead(process: Process) -> None:
    for _ in range(int(WRITES_WITHIN_S)):
        await asyncio.sleep(1.0)
        if not process.alive:
            return
    process.kill()


def _inject_bytes(world: FaultTarget, step: s.CorruptMessage) -> None:
    body, promised = step.body, world.clients.promised()
    if b"%b" in body:
        if not promised:
            return
        body %= promised[-1].encode()
    world.deployment.inject_bytes(TOPICS[step.topic].name, body)
