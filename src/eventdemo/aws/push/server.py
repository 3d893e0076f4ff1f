"""Listens for SNS until it is told to stop."""

import asyncio
from collections.abc import Callable

from eventdemo.aws.push.endpoint import Endpoint
from eventdemo.aws.push.envelope import MAX_BODY_BYTES
from eventdemo.aws.push.fetching import Fetcher, PublicAddresses
from eventdemo.aws.push.origin import Origin, origin_of
from eventdemo.aws.push.signing_keys import SigningKeys
from eventdemo.aws.push.subscriptions import Subscriptions
from eventdemo.aws.push.trust import Trust, system_roots
from eventdemo.aws.push.verifier import Verifier
from eventdemo.http.protocol import Limits
from eventdemo.http.server import Server, bind, configured
from eventdemo.ids import now_us

#: A load balancer keeps few connections open; whatever else comes is not waited for long.
_LIMITS = Limits(head_bytes=16_384, body_bytes=MAX_BODY_BYTES, connections=256, client_timeout_s=10)


def endpoint_for(topic_arn: str, wake: Callable[[str], None]) -> Endpoint:
    """The endpoint for the notes of a topic in AWS. Raises ``Misconfigured``."""
    origin = origin_of(topic_arn)
    sns, authority = Fetcher(), Fetcher(resolver=PublicAddresses())
    trust = Trust(system_roots(), origin.certificate_names)
    return endpoint_of(origin, trust, sns, authority, wake)


def endpoint_of(
    origin: Origin,
    trust: Trust,
    sns: Fetcher,
    authority: Fetcher,
    wake: Callable[[str], None],
    clock: Callable[[], int] = now_us,
) -> Endpoint:
    """An endpoint that believes what it is told to: ``sns`` reaches the origin's hosts,
    ``authority`` those where certificates of issuers are published."""
    keys = SigningKeys(origin, trust, sns.get, authority.get, clock)
    return Endpoint(Verifier(origin, keys, clock), Subscriptions(origin, sns.get), wake)


async def serve(
    endpoint: Endpoint,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    listening: Callable[[int], None] = lambda port: None,
) -> None:
    """Answers until ``stop`` is set. ``listening`` is called once with the port.

    Raises ``PortInUse`` or ``Misconfigured`` before anything is served.
    """
    listener = bind(host, port)
    server = Server(configured(endpoint, _LIMITS), _nothing, stop)
    listening(listener.getsockname()[1])
    await server.serve(sockets=[listener])


async def _nothing() -> None:
    """What there is to end before the connections are closed."""
