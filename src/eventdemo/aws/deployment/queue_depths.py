"""The numbers of messages in a deployment's queues, read from all of them at once."""

import asyncio
from typing import Any

from msgspec import Struct

from eventdemo.aws.deployment.aws_api import AwsApi
from eventdemo.engines.aws.names import Names
from eventdemo.flow import SERVICES

_VISIBLE, _IN_FLIGHT, _DELAYED = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class QueueDepths(Struct, frozen=True):
    """The approximate numbers of one service's record batches: new ones, those in flight, those
    to be tried again, and those that killed their receivers."""

    waiting: int
    in_flight: int
    retries: int
    dead: int


async def queue_depths(api: AwsApi, prefix: str) -> dict[str, QueueDepths]:
    """Returns the depths of each service's queues."""
    names = Names(prefix)

    async def of_service(service: str) -> QueueDepths:
        queue, retries = names.queue(service), names.retries(service)
        first, again, *dead = await asyncio.gather(
            *(_numbers(api, q) for q in (queue, retries, names.dead(queue), names.dead(retries)))
        )
        return QueueDepths(
            first[_VISIBLE],
            first[_IN_FLIGHT] + again[_IN_FLIGHT],
            again[_VISIBLE] + again[_DELAYED],
            sum(numbers[_VISIBLE] for numbers in dead),
        )

    depths = await asyncio.gather(*map(of_service, SERVICES))
    return dict(zip(SERVICES, depths, strict=True))


async def _numbers(api: AwsApi, queue: str) -> dict[str, int]:
    url: Any = await api("sqs", "get_queue_url", QueueName=queue)
    answer = await api(
        "sqs",
        "get_queue_attributes",
        QueueUrl=url["QueueUrl"],
        AttributeNames=[_VISIBLE, _IN_FLIGHT, _DELAYED],
    )
    return {name: int(value) for name, value in answer["Attributes"].items()}
