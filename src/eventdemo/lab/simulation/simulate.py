"""Runs a seed, checks it and, if a promise is broken, finds the shortest run that breaks one."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from msgspec import Struct

from eventdemo.lab.scratch import scratch
from eventdemo.lab.simulation.checks import at_rest
from eventdemo.lab.simulation.determinism import SimulatedLoop
from eventdemo.lab.simulation.plan import plan_of
from eventdemo.lab.simulation.process import make_task
from eventdemo.lab.simulation.trace import Trace
from eventdemo.lab.simulation.world import World

#: Shortening a run takes at most so many runs.
MAX_RUNS = 300


class Run(Struct, frozen=True):
    """One run of a seed. ``kept`` are the numbers of the plan's steps that were left in."""

    seed: int
    deployment: str
    kept: tuple[int, ...]
    broken: list[str]
    simulated_s: float
    outcomes: dict[str, int]
    steps: dict[str, int]
    lines: list[str]
    digest: str


def simulate(seed: int, keep: Collection[int] | None = None) -> Run:
    """The run that a seed stands for, with all steps of its plan or some."""
    plan = plan_of(seed)
    kept = tuple(n for n in range(len(plan.steps)) if keep is None or n in keep)
    trace = Trace()
    with (
        scratch("eventdemo-simulation-", _fast_folder()) as folder,
        _silence(),
        asyncio.Runner(loop_factory=SimulatedLoop) as runner,
    ):
        loop = runner.get_loop()
        loop.set_task_factory(make_task)
        world = World(plan, [plan.steps[n] for n in kept], trace, folder)
        broken = runner.run(at_rest(world))
        simulated_s = loop.time()
    decided = [purchase for purchase in world.clients.purchases if purchase.outcomes]
    outcomes = Counter(str(purchase.outcomes[0].code or "confirmed") for purchase in decided)
    return Run(
        seed,
        plan.deployment,
        kept,
        broken,
        simulated_s,
        dict(outcomes),
        dict(Counter(type(step).__name__ for step in world.steps)),
        trace.lines,
        trace.digest,
    )


def shorten(failed: Run, progress: Callable[[int], None] = lambda steps: None) -> Run:
    """The shortest run of the same seed that was found to break a promise too.

    Leaves out ever smaller parts of the steps (Zeller's delta debugging) for as long as it helps.
    """
    shortest, parts, runs = failed, 2, 0
    while len(shortest.kept) > 1 and runs < MAX_RUNS:
        size = max(1, len(shortest.kept) // parts)
        for start in range(0, len(shortest.kept), size):
            kept = shortest.kept[:start] + shortest.kept[start + size :]
            runs += 1
            candidate = simulate(failed.seed, kept)
            if candidate.broken:
                shortest, parts = candidate, max(2, parts - 1)
                progress(len(kept))
                break
        else:
            if size == 1:
                break
            parts = min(len(shortest.kept), parts * 2)
    return shortest


def _fast_folder() -> Path | None:
    """A folder in memory, where there is one: the read models of a run are not kept."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    return memory if os.access(memory, os.W_OK) else None


@contextmanager
def _silence() -> Iterator[None]:
    """What the services log about faults is no news here."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
