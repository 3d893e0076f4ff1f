"""SQS and SNS as the adapters use them: nothing is lost, groups stay in order, errors say what."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest

from eventdemo.engines.aws.clients import AwsClients
from eventdemo.engines.aws.names import Names
from eventdemo.engines.aws.sqs.messaging import OutgoingMessage, QueueMessage
from eventdemo.engines.aws.sqs.sqs_and_sns import SqsAndSns
from eventdemo.errors import StorageMissing
from tests.emulators.deployments import deploy, remove
from tests.emulators.servers import Aws

pytestmark = pytest.mark.anyio

SERVICE, TOPIC = "stock_check", "stock-check-needed"
NEXT_SERVICE, NEXT_TOPIC = "process_order", "stock-available"
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def names(aws: Aws) -> Iterator[Names]:
    """A deployment for all tests here; each has queues that no other uses."""
    prefix = f"test-{secrets.token_hex(6)}"
    try:
        deploy(aws, prefix)
        yield Names(prefix)
    finally:
        remove(aws, prefix)


@pytest.fixture
async def messaging(names: Names) -> AsyncIterator[SqsAndSns]:
    clients = AwsClients()
    yield await SqsAndSns.open(clients, names, SERVICE)
    await clients.close()


async def received(messaging: SqsAndSns, queue: str, count: int) -> list[QueueMessage]:
    """So many deliveries, each ended as it comes."""
    found: list[QueueMessage] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            some = await messaging.receive(queue, visibility_timeout_s=30, wait_s=1)
            assert await messaging.delete(queue, [each.handle for each in some])
            found += some
    return found


class TestRoundTrips:
    async def test_groups_stay_in_order_however_many_entries_there_are(
        self, messaging: SqsAndSns, names: Names
    ) -> None:
        entries = [OutgoingMessage(f"{number:03}", f"g{number % 3}") for number in range(45)]
        await messaging.publish(names.topic(TOPIC), entries)
        found = await received(messaging, names.queue(SERVICE), 45)
        for group in range(3):
            of_group = [each.body for each in found if int(each.body) % 3 == group]
            assert of_group == sorted(of_group)
        assert {each.body for each in found} == {entry.body for entry in entries}

    async def test_large_entries_go_in_several_calls(
        self, messaging: SqsAndSns, names: Names
    ) -> None:
        bodies = [str(number) * 100_000 for number in range(6)]
        await messaging.send(names.retries(SERVICE), [OutgoingMessage(body) for body in bodies])
        found = await received(messaging, names.retries(SERVICE), 6)
        assert sorted(each.body for each in found) == bodies

    async def test_what_is_held_back_does_not_come_before(
        self, messaging: SqsAndSns, names: Names
    ) -> None:
        queue = names.retries("order_failure")
        await messaging.send(queue, [OutgoingMessage("later", delay_s=60), OutgoingMessage("now")])
        assert [each.body for each in await received(messaging, queue, 1)] == ["now"]
        assert await messaging.receive(queue, visibility_timeout_s=30) == []
        assert (await messaging.depth(queue)).delayed == 1

    async def test_what_is_given_back_comes_again_and_is_counted(
        self, messaging: SqsAndSns, names: Names
    ) -> None:
        queue = names.retries("order_creation")
        await messaging.send(queue, [OutgoingMessage("it")])
        (first,) = await messaging.receive(queue, visibility_timeout_s=30, wait_s=1)
        assert (await messaging.depth(queue)).in_flight == 1
        await messaging.extend(queue, [first.handle], 0)
        (second,) = await messaging.receive(queue, visibility_timeout_s=30, wait_s=1)
        assert (first.body, first.receives, second.receives) == ("it", 1, 2)

    async def test_nothing_is_asked_where_there_is_nothing(
        self, messaging: SqsAndSns, names: Names
    ) -> None:
        await messaging.publish("no-such.fifo", [])
        await messaging.send("no-such", [])
        await messaging.extend(names.queue(SERVICE), [], 1)
        assert await messaging.delete(names.queue(SERVICE), [])


class TestErrors:
    async def test_a_queue_that_is_missing_is_named(self, messaging: SqsAndSns) -> None:
        with pytest.raises(StorageMissing, match=r"no queue 'nobody\.fifo'.*aws deploy"):
            await messaging.receive("nobody.fifo", visibility_timeout_s=1)

    async def test_a_topic_that_is_missing_is_named(self, messaging: SqsAndSns) -> None:
        with pytest.raises(StorageMissing, match=r"no topic 'nobody\.fifo'"):
            await messaging.publish("nobody.fifo", [OutgoingMessage("[]", "g")])

    async def test_a_handle_that_never_was_is_not_held(
        self, messaging: SqsAndSns, names: Names
    ) -> None:
        queue = names.queue(SERVICE)
        await messaging.extend(queue, ["nothing"], 1)
        assert not await messaging.delete(queue, ["nothing"])


class Fails:
    """A client that fails some entries of its first calls, as its queue would."""

    def __init__(self, client: Any, fails: Callable[[int, str], bool]) -> None:
        self._client = client
        self._fails = fails
        self.calls: list[list[str]] = []
        self.ids: dict[str, set[str]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def publish_batch(self, **parameters: Any) -> Any:
        entries: Sequence[dict[str, str]] = parameters["PublishBatchRequestEntries"]
        self.calls.append([entry["Message"] for entry in entries])
        for entry in entries:
            self.ids.setdefault(entry["Message"], set()).add(entry["MessageDeduplicationId"])
        bad = [entry for entry in entries if self._fails(len(self.calls), entry["Message"])]
        good = [entry for entry in entries if entry not in bad]
        if good:
            await self._client.publish_batch(**parameters | {"PublishBatchRequestEntries": good})
        return {
            "Failed": [
                {"Id": entry["Id"], "Code": "InternalError", "SenderFault": False} for entry in bad
            ]
        }


async def test_what_failed_of_a_call_is_tried_again_before_what_follows_it_in_its_group(
    messaging: SqsAndSns, names: Names
) -> None:
    failing = Fails(messaging._sns, lambda call, body: body == "a1" and call < 3)
    messaging._sns = failing
    entries = [
        OutgoingMessage("a1", "a"),
        OutgoingMessage("a2", "a"),
        OutgoingMessage("b1", "b"),
        OutgoingMessage("a3", "a"),
    ]
    await messaging.publish(names.topic(NEXT_TOPIC), entries)
    assert failing.calls == [["a1", "b1"], ["a1"], ["a1"], ["a2"], ["a3"]]
    assert len(failing.ids["a1"]) == 1
    found = await received(messaging, names.queue(NEXT_SERVICE), 4)
    assert [each.body for each in found if each.body != "b1"] == ["a1", "a2", "a3"]
