"""A simulated process: it runs tasks, does I/O that takes time, and can die at any moment."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, Protocol, TypeVar

from eventdemo.lab.simulation.determinism import SeededChance
from eventdemo.lab.simulation.trace import Trace

T = TypeVar("T")

_current: ContextVar["Process"] = ContextVar("process")

#: Simulated time begins in 2026; a constant, so that ids are the same in every run.
EPOCH_US = 1_767_225_600_000_000


class Process:
    """One of the processes of a deployment. What it asked for before it died may still happen."""

    def __init__(self, name: str, chance: SeededChance, trace: Trace) -> None:
        self.name = name
        self.alive = True
        self.skew_us = 0
        self._chance = chance
        self._trace = trace
        #: In the order in which they began: sets of tasks have one that differs from run to run.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._running = asyncio.Event()
        self._running.set()
        self._dies_at_write: tuple[int, bool] | None = None

    def clock(self) -> int:
        """Microseconds since 1970, as this process believes."""
        return EPOCH_US + self.skew_us + int(asyncio.get_running_loop().time() * 1_000_000)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Runs something for as long as the process lives."""
        context = copy_context()
        context.run(_current.set, self)
        return asyncio.create_task(work, context=context)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Makes a task that one of its tasks began die with it."""
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def kill(self) -> None:
        """As ``kill -9`` does: nothing is finished, nothing is cleaned up."""
        if self.alive:
            self._trace.add(self.name, "dies")
            self.end()

    def end(self) -> None:
        """No longer runs."""
        self.alive = False
        for task in tuple(self._tasks):
            task.cancel()

    def die_at_write(self, number: int, *, done: bool) -> None:
        """Dies at the nth write from here on, just before it is ``done`` or just after."""
        self._dies_at_write = (number, done)

    async def pause(self, seconds: float) -> None:
        """As SIGSTOP and SIGCONT do: it goes on as if nothing had happened."""
        self._running.clear()
        await asyncio.sleep(seconds)
        self._running.set()

    async def io(self, what: str, action: Callable[[], T], *, writes: bool) -> T:
        """Asks for something and gets the answer; each of the two takes its time."""
        if not self.alive:
            raise asyncio.CancelledError
        await self._running.wait()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        name = f"{self.name} {what}"
        loop.call_later(self._chance.delay_s(name), self._do, name, action, answer, writes)
        result = await answer
        await self._running.wait()
        return result

    def _do(
        self, name: str, action: Callable[[], T], answer: asyncio.Future[T], writes: bool
    ) -> None:
        if not self.alive and self._chance.happens(f"{name} lost", 0.5):
            return
        if writes and self._dies_now(done=False):
            return
        try:
            result: T | Exception = action()
        except Exception as error:  # noqa: BLE001 - told to who asked
            result = error
        if writes and self._dies_now(done=True):
            return
        loop = asyncio.get_running_loop()
        loop.call_later(self._chance.delay_s(f"{name} answer"), _resolve, answer, result)

    def _dies_now(self, *, done: bool) -> bool:
        if not self._dies_at_write or not self.alive:
            return False
        number, when_done = self._dies_at_write
        if when_done != done:
            return False
        self._dies_at_write = (number - 1, when_done)
        if number > 1:
            return False
        self.kill()
        return True


def make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """The loop's task factory: every task belongs to the process that its context names."""
    task = asyncio.Task(work, loop=loop, **options)
    context = task.get_context() if hasattr(task, "get_context") else options.get("context")
    if process := (context or copy_context()).get(_current):
        process.adopt(task)
    return task


def _resolve(answer: asyncio.Future[T], result: T | Exception) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


class Io(Protocol):
    """Reaches a model: at once, or through a simulated process."""

    async def __call__(self, what: str, action: Callable[[], T], *, writes: bool) -> T: ...


async def at_once(what: str, action: Callable[[], T], *, writes: bool) -> T:
    """Reaches a model without faults; others have their turn."""
    await asyncio.sleep(0)
    return action()
