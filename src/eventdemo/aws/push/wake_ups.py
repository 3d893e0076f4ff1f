"""Topics for a worker that is woken: it asks the queue while there is work, and sleeps else."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from eventdemo.ids import now_us
from eventdemo.messages import DeadLetter, Message, Received, Retry
from eventdemo.ports import Topics

#: How long a service goes on asking after it was woken or found something.
AWAKE_S = 2.0

#: How long after that it looks once more. What it waited with may outlive the waiting, and catch
#: something meanwhile: on SQS a poll, which therefore has to be shorter than this.
LAST_LOOK_S = 4.0

#: How long it sleeps should notes get lost, or a message come back that nobody tells of: one
#: whose worker died.
SLEEP_S = 30.0


class _Service:
    """Whether one service asks for messages at present."""

    def __init__(self, awake_s: float, last_look_s: float, sleep_s: float) -> None:
        self._awake_s = awake_s
        self._last_look_s = last_look_s
        self._sleep_s = sleep_s
        self._woken = asyncio.Event()
        self._awake_until = self._last_look_at = self._sleep_until = float("-inf")

    @property
    def awake_for(self) -> float:
        """For how many more seconds it asks."""
        return self._awake_until - _now()

    def wake(self) -> None:
        self._awake_until = _now() + self._awake_s
        self._last_look_at = self._awake_until + self._last_look_s
        self._sleep_until = self._awake_until + self._sleep_s
        self._woken.set()

    def may_look(self) -> bool:
        """Whoever slept for long enough wakes by himself."""
        if _now() >= self._sleep_until:
            self.wake()
        if self.awake_for > 0:
            return True
        is_last = self._last_look_at <= _now()
        if is_last:
            self._last_look_at = float("inf")
        return is_last

    async def sleep(self, timeout_s: float) -> None:
        self._woken.clear()
        until = min(self._last_look_at, self._sleep_until)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_s, until - _now())):
                await self._woken.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()


class WakeUps:
    """The topics of an engine, asked only on behalf of services that are awake.

    What is published or redriven elsewhere is told by ``wake``; of its own retries a worker knows
    when they are due.
    """

    def __init__(
        self,
        topics: Topics,
        hears: Mapping[str, str],
        *,
        awake_s: float = AWAKE_S,
        last_look_s: float = LAST_LOOK_S,
        sleep_s: float = SLEEP_S,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._topics = topics
        self._hears = hears
        self._clock = clock
        self._services = {service: _Service(awake_s, last_look_s, sleep_s) for service in hears}

    def wake(self, note: str) -> None:
        """Wakes the service that a note names, or those that hear the topic that it names."""
        for service, heard in self._hears.items():
            if note in (service, heard):
                self._services[service].wake()

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        await self._topics.publish(topic, messages)
        self.wake(topic)

    async def receive(self, service: str, limit: int) -> Received | None:
        state = self._services[service]
        if not state.may_look():
            return None
        received = await self._topics.receive(service, limit)
        if received is not None:
            state.wake()
        return received

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        await self._topics.settle(received, retries, dead)
        state, loop = self._services[received.service], asyncio.get_running_loop()
        state.wake()
        for due_at_us in {retry.due_at_us for retry in retries}:
            loop.call_later(max(0, due_at_us - self._clock()) / 1_000_000, state.wake)

    async def wait(self, service: str, timeout_s: float) -> None:
        state = self._services[service]
        if state.awake_for > 0:
            await self._topics.wait(service, min(timeout_s, state.awake_for))
        else:
            await state.sleep(timeout_s)
