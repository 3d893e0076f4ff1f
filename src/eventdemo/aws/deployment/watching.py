"""What waits in a deployment's queues, asked for all at once."""

import asyncio
from typing import Any

from msgspec import Struct

from eventdemo.aws.deployment.calls import Calls
from eventdemo.engines.aws.names import Names
from eventdemo.flow import SERVICES

_VISIBLE, _HELD, _DELAYED = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Depths(Struct, frozen=True):
    """One service's record batches, about: new ones, those handed out, those to be tried again,
    and those that killed whoever took them."""

    waiting: int
    in_flight: int
    retries: int
    dead: int


async def depths(call: Calls, prefix: str) -> dict[str, Depths]:
    """What each service has in its queues."""
    names = Names(prefix)

    async def of_service(service: str) -> Depths:
        queue, retries = names.queue(service), names.retries(service)
        new, again, *dead = await asyncio.gather(
            *(_numbers(call, q) for q in (queue, retries, names.dead(queue), names.dead(retries)))
        )
        return Depths(
            new[_VISIBLE],
            new[_HELD] + again[_HELD],
            again[_VISIBLE] + again[_DELAYED],
            sum(each[_VISIBLE] for each in dead),
        )

    found = await asyncio.gather(*map(of_service, SERVICES))
    return dict(zip(SERVICES, found, strict=True))


async def _numbers(call: Calls, queue: str) -> dict[str, int]:
    url: Any = await call("sqs", "get_queue_url", QueueName=queue)
    answer = await call(
        "sqs",
        "get_queue_attributes",
        QueueUrl=url["QueueUrl"],
        AttributeNames=[_VISIBLE, _HELD, _DELAYED],
    )
    return {name: int(value) for name, value in answer["Attributes"].items()}
