"""Topics of a worker that sleeps: it polls its queue while there is work, and is woken for more."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from eventdemo.ids import now_us
from eventdemo.messages import DeadLetter, Message, Received, Retry
from eventdemo.ports import Topics

#: The time for which a service polls after it was woken or received something.
AWAKE_S = 2.0

#: The delay after that until one last poll. The previous poll of SQS may outlast the wait for it
#: and catch something meanwhile; it has to be shorter than this.
LAST_POLL_S = 4.0

#: The longest sleep: wake-up notifications may get lost, and there is none for a message that comes
#: back because its worker died.
SLEEP_S = 30.0


class _Service:
    """The state of one service: awake, or asleep until some time."""

    def __init__(self, awake_s: float, last_poll_s: float, sleep_s: float) -> None:
        self._awake_s = awake_s
        self._last_poll_s = last_poll_s
        self._sleep_s = sleep_s
        self._woken = asyncio.Event()
        self._awake_until = self._last_poll_at = self._sleep_until = float("-inf")

    @property
    def awake_for(self) -> float:
        """The seconds for which it goes on polling."""
        return self._awake_until - _now()

    def wake(self) -> None:
        self._awake_until = _now() + self._awake_s
        self._last_poll_at = self._awake_until + self._last_poll_s
        self._sleep_until = self._awake_until + self._sleep_s
        self._woken.set()

    def may_poll(self) -> bool:
        """Returns whether it is awake, or due for its last poll; wakes it after a long sleep."""
        if _now() >= self._sleep_until:
            self.wake()
        if self.awake_for > 0:
            return True
        is_last = self._last_poll_at <= _now()
        if is_last:
            self._last_poll_at = float("inf")
        return is_last

    async def sleep(self, timeout_s: float) -> None:
        self._woken.clear()
        until = min(self._last_poll_at, self._sleep_until)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_s, until - _now())):
                await self._woken.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()


class SleepingTopics:
    """The topics of an engine, polled only for services that are awake.

    ``wake`` is called for what is published or redriven elsewhere. Retries of its own wake a
    service when they are due.
    """

    def __init__(
        self,
        topics: Topics,
        hears: Mapping[str, str],
        *,
        awake_s: float = AWAKE_S,
        last_poll_s: float = LAST_POLL_S,
        sleep_s: float = SLEEP_S,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._topics = topics
        self._hears = hears
        self._clock = clock
        self._services = {service: _Service(awake_s, last_poll_s, sleep_s) for service in hears}

    def wake(self, name: str) -> None:
        """Wakes the service of this name, or those that hear the topic of this name."""
        for service, topic in self._hears.items():
            if name in (service, topic):
                self._services[service].wake()

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        await self._topics.publish(topic, messages)
        self.wake(topic)

    async def receive(self, service: str, limit: int) -> Received | None:
        state = self._services[service]
        if not state.may_poll():
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
