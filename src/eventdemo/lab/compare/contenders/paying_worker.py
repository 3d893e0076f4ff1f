"""This project's worker where purchases have to be paid for, as a shop would add it to the flow.

Process Order is handed a purchase once it is paid. Many are paid at once, behind the 202, and
while the payment service is away they wait in their topic; a payment that is asked for again, as
after a crash, bears the same request id.
"""

import asyncio
import signal
from collections.abc import Sequence

import uvloop

from eventdemo.errors import StorageUnreachable
from eventdemo.flow import SERVICES
from eventdemo.lab.compare.contenders.payment import PaymentFailed, pay
from eventdemo.messages import Batch, DeadLetter, Message, Received, Retry
from eventdemo.ports import Engine, Topics
from eventdemo.readmodels.projector import Projector
from eventdemo.runtime.wiring import open_engine
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings

PAID_FOR = "process_order"
#: So many payments are under way at once.
PAYMENTS = 256


class PaidTopics:
    """Topics whose messages to Process Order are paid for before they are received."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._lanes = asyncio.Semaphore(PAYMENTS)

    async def receive(self, service: str, limit: int) -> Received | None:
        received = await self._topics.receive(service, limit)
        if received and service == PAID_FOR:
            try:
                await asyncio.gather(*map(self._pay, received.messages))
            except PaymentFailed as error:
                # What was received and not settled comes again, to a worker that has slowed down.
                raise StorageUnreachable(str(error)) from None
        return received

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        await self._topics.publish(topic, messages)

    async def settle(
        self, received: Received, retries: Sequence[Retry], dead: Sequence[DeadLetter]
    ) -> None:
        await self._topics.settle(received, retries, dead)

    async def wait(self, service: str, timeout_s: float) -> None:
        await self._topics.wait(service, timeout_s)

    async def _pay(self, message: Message) -> None:
        async with self._lanes:
            await pay(message.correlation_id)


class PayingEngine:
    """An engine with such topics."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.pool = engine.pool
        self.queue = engine.queue
        self.topics = PaidTopics(engine.topics)
        self.dead_letters = engine.dead_letters
        self.message_log = engine.message_log
        self.flow_status = engine.flow_status
        self.cache = engine.cache

    async def commit(self, batch: Batch) -> None:
        await self._engine.commit(batch)

    async def close(self) -> None:
        await self._engine.close()


async def work() -> None:
    """Runs all services and the read models until SIGTERM."""
    settings, stop = Settings.load({}), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    engine = PayingEngine(await open_engine(settings))
    try:
        projector = Projector(engine.pool, settings.read_models)
        await asyncio.gather(run_services(engine, SERVICES, stop), projector.run(stop))
    finally:
        await engine.close()


if __name__ == "__main__":
    uvloop.run(work())
