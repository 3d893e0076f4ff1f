"""What the adapters rely on in SQS and SNS, tried on each emulator; what one lacks is declared."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec import Struct

from tests.emulators import lacks
from tests.emulators.servers import Aws, emulated, localstack_is_there

EMULATORS = (lacks.LOCALSTACK, lacks.MOTO)

FIFO = {"FifoQueue": "true"}


class Place(Struct, frozen=True):
    """Somewhere to make queues and topics whose names nobody else uses."""

    sqs: Any
    sns: Any
    name: str

    def queue(self, suffix: str = "", **attributes: str) -> str:
        name = f"{self.name}{suffix}" + (".fifo" if "FifoQueue" in attributes else "")
        url: str = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def arn(self, queue: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        arn: str = answer["Attributes"]["QueueArn"]
        return arn

    def topic(self, *queues: str) -> str:
        fifo = {"FifoTopic": "true"}
        topic: str = self.sns.create_topic(Name=f"{self.name}.fifo", Attributes=fifo)["TopicArn"]
        for queue in queues:
            raw = {"RawMessageDelivery": "true"}
            self.sns.subscribe(
                TopicArn=topic, Protocol="sqs", Endpoint=self.arn(queue), Attributes=raw
            )
        return topic

    def send(self, queue: str, body: str, group: str = "", deduplication: str = "") -> Any:
        fifo = {"MessageGroupId": group, "MessageDeduplicationId": deduplication or body}
        return self.sqs.send_message(QueueUrl=queue, MessageBody=body, **(fifo if group else {}))

    def receive(self, queue: str, wait_s: int = 0, **more: Any) -> list[Any]:
        more = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": wait_s, **more}
        answer = self.sqs.receive_message(QueueUrl=queue, AttributeNames=["All"], **more)
        messages: list[Any] = answer.get("Messages", [])
        return messages

    def bodies(self, queue: str, wait_s: int = 0, **more: Any) -> list[str]:
        return [message["Body"] for message in self.receive(queue, wait_s, **more)]

    def depth(self, queue: str) -> list[int]:
        """About how many are to be had, handed out and held back."""
        names = [f"ApproximateNumberOfMessages{more}" for more in ("", "NotVisible", "Delayed")]
        answer = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
        return [int(answer["Attributes"][name]) for name in names]


@pytest.fixture(scope="session")
def emulators(aws: Aws, shared_folder: Path | None) -> Iterator[Callable[[str], Aws]]:
    with ExitStack() as servers:
        opened = {aws.messaging: aws}

        def of(name: str) -> Aws:
            if name not in opened:
                opened[name] = servers.enter_context(emulated(name, shared_folder))
            return opened[name]

        yield of


@pytest.fixture(params=EMULATORS)
def place(request: pytest.FixtureRequest, emulators: Callable[[str], Aws]) -> Place:
    emulator: str = request.param
    if emulator == lacks.LOCALSTACK and not localstack_is_there():
        pytest.skip("LocalStack is not installed: it needs Python 3.12 or later")
    lacks.expect(request, emulator)
    aws = emulators(emulator)
    name = request.node.originalname.removeprefix("test_")[:70]
    return Place(aws.client("sqs"), aws.client("sns"), name)


def test_messages_of_a_group_come_in_order(place: Place) -> None:
    queue = place.queue(**FIFO)
    for body in "abcde":
        place.send(queue, body, group="g")
    assert "".join(place.bodies(queue)) == "abcde"


def test_while_a_message_is_handed_out_no_later_one_of_its_group_is(place: Place) -> None:
    queue = place.queue(**FIFO)
    for body in ("g1", "g2", "h1"):
        place.send(queue, body, group=body[0])
    first = place.receive(queue, MaxNumberOfMessages=1)
    assert [message["Body"] for message in first] == ["g1"]
    assert place.bodies(queue) == ["h1"]
    place.sqs.delete_message(QueueUrl=queue, ReceiptHandle=first[0]["ReceiptHandle"])
    assert place.bodies(queue) == ["g2"]


def test_a_message_that_is_not_deleted_comes_again_counted(place: Place) -> None:
    queue = place.queue(VisibilityTimeout="1", **FIFO)
    place.send(queue, "a", group="g")
    counts = [place.receive(queue, 5)[0]["Attributes"]["ApproximateReceiveCount"] for _ in "123"]
    assert counts == ["1", "2", "3"]


def test_a_message_given_back_comes_again_at_once_before_later_ones(place: Place) -> None:
    queue = place.queue(**FIFO)
    for body in "ab":
        place.send(queue, body, group="g")
    held = place.receive(queue, VisibilityTimeout=600)
    for message in held:
        place.sqs.change_message_visibility(
            QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
    assert place.bodies(queue, 5) == ["a", "b"]


def test_a_visibility_timeout_is_extended(place: Place) -> None:
    queue = place.queue(**FIFO)
    place.send(queue, "a", group="g")
    (held,) = place.receive(queue, VisibilityTimeout=1)
    place.sqs.change_message_visibility(
        QueueUrl=queue, ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=600
    )
    assert place.bodies(queue, 2) == []


def _expired(place: Place, queue: str) -> str:
    """The handle of a message whose time ran out."""
    (held,) = place.receive(queue, VisibilityTimeout=1)
    while place.depth(queue) != [1, 0, 0]:
        time.sleep(0.1)
    handle: str = held["ReceiptHandle"]
    return handle


def _delete(place: Place, queue: str, handle: str) -> list[str]:
    """What a batch of one entry, called 0, failed to delete."""
    entries = [{"Id": "0", "ReceiptHandle": handle}]
    answer = place.sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
    return [failed["Id"] for failed in answer.get("Failed", [])]


def _give_back(place: Place, queue: str, handle: str) -> list[str]:
    """What a batch of one entry, called 0, failed to make visible."""
    entries = [{"Id": "0", "ReceiptHandle": handle, "VisibilityTimeout": 0}]
    answer = place.sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
    return [failed["Id"] for failed in answer.get("Failed", [])]


def test_a_fifo_message_whose_time_ran_out_is_not_deleted(place: Place) -> None:
    queue = place.queue(**FIFO)
    place.send(queue, "a", group="g")
    assert _delete(place, queue, _expired(place, queue)) == ["0"]
    assert place.bodies(queue) == ["a"]


def test_a_fifo_message_whose_time_ran_out_cannot_be_extended(place: Place) -> None:
    queue = place.queue(**FIFO)
    place.send(queue, "a", group="g")
    assert _give_back(place, queue, _expired(place, queue)) == ["0"]


def test_a_fifo_message_handed_out_again_is_not_deleted_by_who_had_it_first(place: Place) -> None:
    queue = place.queue(**FIFO)
    place.send(queue, "a", group="g")
    first = _expired(place, queue)
    assert place.bodies(queue) == ["a"]
    assert _delete(place, queue, first) == ["0"]
    assert place.depth(queue) == [0, 1, 0]


def test_a_fifo_message_handed_out_again_is_not_given_back_by_who_had_it_first(
    place: Place,
) -> None:
    queue = place.queue(**FIFO)
    place.send(queue, "a", group="g")
    first = _expired(place, queue)
    assert place.bodies(queue) == ["a"]
    assert _give_back(place, queue, first) == ["0"]
    assert place.depth(queue) == [0, 1, 0]


def test_a_message_deleted_twice_is_still_gone(place: Place) -> None:
    queue = place.queue(**FIFO)
    place.send(queue, "a", group="g")
    (held,) = place.receive(queue)
    assert _delete(place, queue, held["ReceiptHandle"]) == []
    assert _delete(place, queue, held["ReceiptHandle"]) == []
    assert place.depth(queue) == [0, 0, 0]


def test_messages_are_deleted_even_if_another_of_the_call_is_not(place: Place) -> None:
    queue = place.queue(**FIFO)
    place.send(queue, "a", group="g")
    (held,) = place.receive(queue)
    entries = [
        {"Id": "0", "ReceiptHandle": "of-no-message"},
        {"Id": "1", "ReceiptHandle": held["ReceiptHandle"]},
    ]
    answer = place.sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
    assert [done["Id"] for done in answer["Successful"]] == ["1"]
    assert [failed["Id"] for failed in answer["Failed"]] == ["0"]
    assert place.depth(queue) == [0, 0, 0]


def test_a_repeated_deduplication_id_is_taken_once(place: Place) -> None:
    queue = place.queue(**FIFO)
    for body in "ab":
        place.send(queue, body, group="g", deduplication="same")
    assert place.bodies(queue) == ["a"]


def test_a_deduplication_id_is_remembered_when_its_message_is_gone(place: Place) -> None:
    queue = place.queue(**FIFO)
    place.send(queue, "a", group="g", deduplication="same")
    (held,) = place.receive(queue)
    place.sqs.delete_message(QueueUrl=queue, ReceiptHandle=held["ReceiptHandle"])
    place.send(queue, "b", group="g", deduplication="same")
    assert place.bodies(queue) == []


def test_sequence_numbers_rise(place: Place) -> None:
    queue = place.queue(**FIFO)
    numbers = [int(place.send(queue, body, group="g")["SequenceNumber"]) for body in "abcdefgh"]
    assert numbers == sorted(numbers)


def test_a_delayed_message_is_held_back_and_then_comes(place: Place) -> None:
    queue = place.queue()
    place.sqs.send_message(QueueUrl=queue, MessageBody="a", DelaySeconds=1)
    assert place.depth(queue) == [0, 0, 1]
    assert place.bodies(queue) == []
    assert place.bodies(queue, 5) == ["a"]


def test_the_depth_tells_what_is_to_be_had_and_what_is_handed_out(place: Place) -> None:
    queue = place.queue(**FIFO)
    for body in ("g1", "h1"):
        place.send(queue, body, group=body[0])
    place.receive(queue, MaxNumberOfMessages=1)
    assert place.depth(queue) == [1, 1, 0]


def test_a_message_received_too_often_is_moved_to_the_dead_letter_queue(place: Place) -> None:
    dead = place.queue("-dead", **FIFO)
    redrive = {"deadLetterTargetArn": place.arn(dead), "maxReceiveCount": 2}
    queue = place.queue(RedrivePolicy=json.dumps(redrive), **FIFO)
    place.send(queue, "a", group="g")
    for _ in range(2):
        assert place.bodies(queue, 5, VisibilityTimeout=0) == ["a"]
    assert place.bodies(queue) == []
    assert place.bodies(dead, 5) == ["a"]


def test_what_is_published_reaches_each_queue_raw_and_in_order(place: Place) -> None:
    queues = [place.queue(suffix, **FIFO) for suffix in ("-1", "-2")]
    topic = place.topic(*queues)
    bodies = [f'["{n}", "é\\u00e9"]' for n in range(5)]
    for n, body in enumerate(bodies):
        place.sns.publish(
            TopicArn=topic, Message=body, MessageGroupId="g", MessageDeduplicationId=str(n)
        )
    for queue in queues:
        assert _drained(place, queue, len(bodies)) == bodies


def _drained(place: Place, queue: str, count: int) -> list[str]:
    bodies: list[str] = []
    while len(bodies) < count:
        held = place.receive(queue, 5)
        assert held, bodies
        bodies += [message["Body"] for message in held]
        for message in held:
            place.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def _entry(name: str, **more: Any) -> dict[str, Any]:
    fifo = {"MessageGroupId": "g", "MessageDeduplicationId": name}
    return {"Id": name, "Message": name, **fifo, **more}


def test_a_batch_published_twice_with_its_deduplication_ids_arrives_once(place: Place) -> None:
    queue = place.queue(**FIFO)
    topic = place.topic(queue)
    entries = [_entry(str(n)) for n in range(10)]
    for _ in range(2):
        answer = place.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
        assert len(answer["Successful"]) == 10
    assert _drained(place, queue, 10) == [entry["Message"] for entry in entries]
    assert place.bodies(queue) == []


def test_more_than_ten_entries_are_refused(place: Place) -> None:
    topic = place.topic()
    with pytest.raises(ClientError, match="TooManyEntriesInBatchRequest"):
        place.sns.publish_batch(
            TopicArn=topic, PublishBatchRequestEntries=[_entry(str(n)) for n in range(11)]
        )


def test_a_batch_of_more_than_256_kib_is_refused(place: Place) -> None:
    topic = place.topic()
    entries = [_entry(str(n), Message="x" * 100_000) for n in range(3)]
    with pytest.raises(ClientError, match="BatchRequestTooLong"):
        place.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)


def test_what_xml_cannot_hold_is_refused(place: Place) -> None:
    queue = place.queue(**FIFO)
    with pytest.raises(ClientError, match="InvalidMessageContents"):
        place.send(queue, "a\x00b", group="g", deduplication="1")


def test_a_queue_takes_from_a_topic_only_what_its_policy_allows(place: Place) -> None:
    queue = place.queue(**FIFO)
    topic = place.topic(queue)
    place.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[_entry("1")])
    assert place.bodies(queue, 1) == []


def test_a_queue_that_is_not_there_is_named_as_such(place: Place) -> None:
    with pytest.raises(ClientError, match="NonExistentQueue"):
        place.sqs.get_queue_url(QueueName="no-such-queue.fifo")


def test_a_topic_that_is_not_there_is_named_as_such(place: Place) -> None:
    topic = place.topic()
    with pytest.raises(ClientError, match="NotFound"):
        place.sns.publish_batch(
            TopicArn=f"{topic}-not.fifo", PublishBatchRequestEntries=[_entry("1")]
        )


def test_a_call_without_permission_is_refused(place: Place) -> None:
    queue = place.queue(**FIFO)
    denied = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": place.arn(queue)}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [denied]})
    place.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    with pytest.raises(ClientError, match="AccessDenied"):
        place.send(queue, "a", group="g")
