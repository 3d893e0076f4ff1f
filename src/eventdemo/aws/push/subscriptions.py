"""Says yes to SNS when it asks whether this endpoint wants the notes of the pinned topic."""

from urllib.parse import parse_qsl

import structlog

from eventdemo.aws.push.envelope import Envelope
from eventdemo.aws.push.fetching import Get
from eventdemo.aws.push.origin import Origin
from eventdemo.aws.push.refusals import Refused

log = structlog.get_logger(__name__)


class Subscriptions:
    """Visits the address that a verified confirmation brings, if it does what it should."""

    def __init__(self, origin: Origin, get: Get) -> None:
        self._origin = origin
        self._get = get

    async def confirm(self, envelope: Envelope) -> None:
        """Raises ``Refused``, or ``Unavailable`` if SNS does not answer."""
        url = envelope.subscribe_url or ""
        beginning = f"{self._origin.api_at}/?"
        asked = {
            "Action": "ConfirmSubscription",
            "TopicArn": self._origin.topic_arn,
            "Token": envelope.token,
        }
        query = url.removeprefix(beginning)
        said = parse_qsl(query, keep_blank_values=True)
        if query == url or sorted(said) != sorted(asked.items()):
            raise Refused("the address to visit is not that of a confirmation at SNS")
        await self._get(url)
        log.info("subscription confirmed", topic=self._origin.topic_arn)

    def ended(self, envelope: Envelope) -> None:
        """Its address would subscribe again: whoever ended the subscription meant it."""
        log.warning(
            "the subscription was ended: workers find their tasks by looking now and then",
            topic=envelope.topic_arn,
        )
