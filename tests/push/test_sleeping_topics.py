"""Workers that sleep until a wake-up wakes them: on models of SQS and SNS, in simulated time."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from eventdemo.aws.push.sleeping_topics import AWAKE_S, LAST_POLL_S, SLEEP_S, SleepingTopics
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.context import MessagingContext
from eventdemo.engines.aws.sqs.messaging import (
    WAKE_UP_INTERVAL_S,
    OutgoingMessage,
    QueueMessage,
    WakeUpPublisher,
)
from eventdemo.engines.aws.sqs.parts import AwsMessaging
from eventdemo.errors import StorageUnreachable
from eventdemo.lab.simulation.determinism import SimulatedLoop
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from eventdemo.lab.simulation.sqs_model import MessagingModel, ModelMessaging
from eventdemo.messages import Message, Retry
from eventdemo.runtime.wiring import HEARS
from tests.conformance.samples import SERVICE, TOPIC, check, checks, dead, purchase

NAMES = Names("shop")
START_US = 1_772_366_400_000_000
HOUR_S = 3_600.0


class Counted(ModelMessaging):
    """Counts what is asked of SQS; wake-ups take the way over the load balancer."""

    def __init__(self, cloud: "Cloud") -> None:
        super().__init__(cloud.messaging)
        self._cloud = cloud
        self.asked = 0

    async def publish(self, topic: str, entries: Sequence[OutgoingMessage]) -> None:
        if topic == NAMES.wake:
            self._cloud.push([entry.body for entry in entries])
        else:
            await super().publish(topic, entries)

    async def receive(
        self, queue: str, *, visibility_timeout_s: int, wait_s: int = 0
    ) -> list[QueueMessage]:
        self.asked += 1
        return await super().receive(
            queue, visibility_timeout_s=visibility_timeout_s, wait_s=wait_s
        )


class Worker:
    """One instance that handles one service, and when it handled what."""

    def __init__(self, cloud: "Cloud") -> None:
        self.cloud = cloud
        self.messaging = Counted(cloud)
        self.topics = SleepingTopics(cloud.parts(self.messaging).topics, HEARS, clock=cloud.clock)
        self.handled: list[tuple[float, list[Message]]] = []

    @property
    def messages(self) -> list[Message]:
        return [message for _, messages in self.handled for message in messages]

    async def run(self, service: str = SERVICE) -> None:
        """As the runtime does."""
        while True:
            received = await self.topics.receive(service, 100)
            if received is None:
                await self.topics.wait(service, 0.5)
            else:
                self.handled.append((now(), list(received.messages)))
                await self.topics.settle(received, [], [])


class Cloud:
    """SQS, SNS and DynamoDB, and the load balancer before the workers, which take turns."""

    def __init__(self) -> None:
        self.messaging = MessagingModel(NAMES, HEARS)
        self.table = TableModel()
        self.wake_ups: list[tuple[float, str]] = []
        self.workers: list[Worker] = []
        self.losing_wake_ups = False
        self._ids = itertools.count()

    def clock(self) -> int:
        return START_US + int(now() * 1_000_000)

    def push(self, wake_ups: Sequence[str]) -> None:
        for wake_up in wake_ups:
            self.wake_ups.append((now(), wake_up))
            if self.losing_wake_ups:
                raise StorageUnreachable("no answer")
            if self.workers:
                self.workers.append(self.workers.pop(0))
                self.workers[-1].topics.wake(wake_up)

    def parts(self, messaging: Counted) -> AwsMessaging:
        return AwsMessaging(
            MessagingContext(
                WakeUpPublisher(messaging, NAMES, HEARS),
                ModelTable(self.table),
                NAMES,
                HEARS,
                "purchase-requested",
                self.clock,
                lambda: f"id-{next(self._ids)}",
            )
        )


def now() -> float:
    return asyncio.get_running_loop().time()


class Running:
    """Workers that run, and somebody who publishes."""

    def __init__(self, instances: int) -> None:
        self.cloud = Cloud()
        self.messaging = Counted(self.cloud)
        parts = self.cloud.parts(self.messaging)
        self.queue, self.topics, self.dead_letters = parts.queue, parts.topics, parts.dead_letters
        self.cloud.workers = [Worker(self.cloud) for _ in range(instances)]
        self.workers = list(self.cloud.workers)
        self.tasks = [asyncio.create_task(worker.run()) for worker in self.workers]

    @property
    def handled(self) -> list[Message]:
        return [message for worker in self.workers for message in worker.messages]

    @property
    def asked(self) -> int:
        return sum(worker.messaging.asked for worker in self.workers)

    async def asleep(self) -> None:
        await asyncio.sleep(AWAKE_S + LAST_POLL_S + 1)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


Story = Callable[[Running], Coroutine[Any, Any, None]]


def tell(story: Story, instances: int = 1) -> None:
    """Runs a story in simulated time."""

    async def whole() -> None:
        running = Running(instances)
        try:
            await story(running)
        finally:
            await running.stop()

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(whole())


def test_a_wake_up_wakes_a_worker_at_once() -> None:
    async def story(running: Running) -> None:
        await running.asleep()
        message, began = check(), now()
        await running.topics.publish(TOPIC, [message])
        await asyncio.sleep(1)
        [(at, messages)] = running.workers[0].handled
        assert messages == [message]
        assert at - began < 0.1

    tell(story)


def test_a_purchase_that_enters_the_queue_wakes_its_first_service() -> None:
    async def story(running: Running) -> None:
        worker = Worker(running.cloud)
        running.tasks.append(asyncio.create_task(worker.run("purchase_task")))
        running.cloud.workers = [worker]
        await running.asleep()
        bought, began = purchase(), now()
        await running.queue.enqueue(bought)
        await asyncio.sleep(2)
        [(at, messages)] = worker.handled
        assert [message.id for message in messages] == [bought.id]
        assert at - began < 1

    tell(story)


def test_who_sleeps_asks_seldom() -> None:
    async def asks(running: Running, hours: float) -> int:
        await asyncio.sleep(hours * HOUR_S)
        return running.asked

    async def story(running: Running) -> None:
        awake = await asks(running, 1)
        looks = HOUR_S / (AWAKE_S + SLEEP_S)
        assert looks <= awake <= 8 * looks

    tell(story)


def test_of_many_instances_each_wake_up_wakes_one() -> None:
    async def story(running: Running) -> None:
        await running.asleep()
        before = [worker.messaging.asked for worker in running.workers]
        await running.topics.publish(TOPIC, [check()])
        await asyncio.sleep(1)
        woken = [
            worker.messaging.asked > asked
            for worker, asked in zip(running.workers, before, strict=True)
        ]
        assert sum(woken) == 1
        assert len(running.handled) == 1

    tell(story, instances=4)


def test_under_load_all_instances_come_to_work() -> None:
    async def story(running: Running) -> None:
        await running.asleep()
        for _ in range(40):
            await running.topics.publish(TOPIC, checks(50))
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert len(running.handled) == 2_000
        assert all(worker.handled for worker in running.workers)

    tell(story, instances=4)


def test_a_process_tells_the_same_no_more_often_than_it_may() -> None:
    async def story(running: Running) -> None:
        began = now()
        for _ in range(1_000):
            await running.topics.publish(TOPIC, [check()])
            await asyncio.sleep(0.01)
        sent = [at for at, wake_up in running.cloud.wake_ups if wake_up == TOPIC]
        assert len(sent) <= (now() - began) / WAKE_UP_INTERVAL_S + 2
        assert all(
            later - earlier > WAKE_UP_INTERVAL_S - 0.001
            for earlier, later in itertools.pairwise(sent)
        )

    tell(story)


def test_the_last_wake_up_comes_after_the_last_message() -> None:
    async def story(running: Running) -> None:
        for _ in range(5):
            await running.topics.publish(TOPIC, [check()])
            await asyncio.sleep(WAKE_UP_INTERVAL_S / 3)
        last = now()
        await asyncio.sleep(1)
        assert running.cloud.wake_ups[-1][0] >= last - WAKE_UP_INTERVAL_S / 3

    tell(story, instances=0)


def test_lost_wake_ups_cost_time_and_nothing_else() -> None:
    async def story(running: Running) -> None:
        running.cloud.losing_wake_ups = True
        await running.asleep()
        messages, began = checks(30), now()
        await running.topics.publish(TOPIC, messages)
        await asyncio.sleep(SLEEP_S / 2)
        assert running.handled == []
        await asyncio.sleep(SLEEP_S / 2 + 1)
        assert {message.id for message in running.handled} == {each.id for each in messages}
        assert running.workers[0].handled[-1][0] - began <= SLEEP_S

    tell(story)


def test_what_a_poll_caught_that_nobody_waited_for_is_handled_soon() -> None:
    """Published without a wake-up, in every moment around the end of the time awake."""
    for tenths in range(0, 80, 3):

        async def story(running: Running, after_s: float = tenths / 10) -> None:
            running.cloud.losing_wake_ups = True
            await asyncio.sleep(after_s)
            await running.topics.publish(TOPIC, [check()])
            await asyncio.sleep(AWAKE_S + SLEEP_S)
            assert len(running.handled) == 1

        tell(story)


def test_a_retry_is_handled_when_it_is_due() -> None:
    async def story(running: Running) -> None:
        running.cloud.losing_wake_ups = True
        await running.stop()
        topics, clock = running.workers[0].topics, running.cloud.clock
        await running.topics.publish(TOPIC, [check()])
        received = await topics.receive(SERVICE, 10)
        assert received
        due_us = clock() + 12_000_000
        retry = Retry(received.messages[0], due_us, 2, "it broke")
        await topics.settle(received, [retry], [])
        running.tasks = [asyncio.create_task(running.workers[0].run())]
        await asyncio.sleep(SLEEP_S - 5)
        [(at, messages)] = running.workers[0].handled
        assert messages == [retry.message]
        assert 12 <= at < 14

    tell(story)


def test_a_redriven_letter_wakes_its_service() -> None:
    async def story(running: Running) -> None:
        await running.stop()
        await running.topics.publish(TOPIC, [check()])
        worker = running.workers[0]
        received = await worker.topics.receive(SERVICE, 10)
        assert received
        await worker.topics.settle(received, [], [dead(received.messages[0])])
        running.tasks = [asyncio.create_task(worker.run())]
        await running.asleep()
        began = now()
        await running.dead_letters.redrive(await running.dead_letters.last_id())
        await asyncio.sleep(2)
        [(at, messages)] = worker.handled
        assert messages == received.messages
        assert at - began < 2

    tell(story)


def test_what_a_service_says_wakes_its_neighbour_in_the_same_process() -> None:
    async def story(running: Running) -> None:
        running.cloud.losing_wake_ups = True
        worker = running.workers[0]
        await running.asleep()
        began = now()
        await worker.topics.publish(TOPIC, [check()])
        await asyncio.sleep(1)
        assert worker.handled[0][0] - began < 0.1

    tell(story)


@pytest.mark.parametrize("wake_up", ["", "shop", "no such topic", "purchase-requested"])
def test_a_wake_up_for_others_wakes_nobody_here(wake_up: str) -> None:
    async def story(running: Running) -> None:
        await running.asleep()
        before = running.asked
        running.cloud.push([wake_up])
        await asyncio.sleep(1)
        assert running.asked == before

    tell(story)


def test_closing_sends_the_wake_ups_that_are_due() -> None:
    async def story(running: Running) -> None:
        publisher = WakeUpPublisher(running.messaging, NAMES, {SERVICE: TOPIC})
        for number in range(2):
            await publisher.publish(NAMES.topic(TOPIC), [OutgoingMessage("[]", group=str(number))])
            await asyncio.sleep(0)
        began = now()
        await publisher.close()
        assert [wake_up for _, wake_up in running.cloud.wake_ups] == [TOPIC, TOPIC]
        assert now() == began

    tell(story, instances=0)
