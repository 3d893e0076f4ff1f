"""A worker that is woken by notifications of SNS instead of polling all the time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from eventdemo.aws.push.endpoint import endpoint_for, serve
from eventdemo.aws.push.envelope import origin_of
from eventdemo.aws.push.sleeping_topics import SleepingTopics
from eventdemo.engines.registry import scheme_of
from eventdemo.errors import Misconfigured
from eventdemo.ports import Engine, MessagingParts
from eventdemo.runtime.composite import CompositeEngine
from eventdemo.runtime.wiring import HEARS
from eventdemo.settings import Settings
from eventdemo.settings.readers import split_address


def check(settings: Settings) -> None:
    """Raises ``Misconfigured`` for settings by which nobody could be woken."""
    if not settings.push_topic:
        raise Misconfigured(
            "--push-listen needs to know which topic to believe: give the ARN of the topic as "
            "--push-topic or EVENTDEMO_PUSH_TOPIC"
        )
    origin_of(settings.push_topic)
    if not scheme_of(settings.topics).wakes_up:
        raise Misconfigured("--push-listen is for workers on AWS: use --topics aws://PREFIX")


def pushed(
    topic_arn: str, address: str, engine: Engine, stop: asyncio.Event
) -> tuple[Engine, Coroutine[Any, Any, None]]:
    """Returns the engine of a worker that sleeps between wake-ups, and what listens for them."""
    topics = SleepingTopics(engine.topics, HEARS)
    endpoint = endpoint_for(topic_arn, topics.wake)
    messaging = MessagingParts(
        engine.queue, topics, engine.dead_letters, engine.message_log, engine.flow_status
    )
    awake = CompositeEngine(engine.pool, messaging, engine.cache, engine.close)
    host, port = split_address(address)
    return awake, serve(endpoint, host, port, stop)
