"""The endpoint that SNS posts to: genuine messages wake workers, all others are refused alike."""

import asyncio
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

import structlog

from eventdemo.aws.push.envelope import (
    MAX_BODY_BYTES,
    NOTIFICATION,
    SUBSCRIPTION,
    Envelope,
    Origin,
    PushRefused,
    PushUndecided,
    origin_of,
)
from eventdemo.aws.push.fetcher import Fetcher, Get, PublicAddresses
from eventdemo.aws.push.signing_keys import SigningKeys, Trust, system_roots
from eventdemo.aws.push.verifier import Verifier
from eventdemo.http import Headers, HttpResponse, Receive, Scope, Send, send_response, server
from eventdemo.http.problems import (
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    about_blank,
)
from eventdemo.http.protocol import Limits
from eventdemo.http.requests import check_body_headers, read_body
from eventdemo.ids import now_us

PATH = "/sns"
#: The path for the health checks of a load balancer.
LIVE_PATH = "/health/live"

#: The one detail of all refusals: every reason would be one more thing that a forger knows.
_REFUSED = "This is not a message that is taken here."
_RETRY_AFTER_S = 5

#: One line of log for each reason within this time.
LOG_EVERY_S = 10.0

#: A load balancer keeps few connections open; others that are slow are closed soon.
_LIMITS = Limits(head_bytes=16_384, body_bytes=MAX_BODY_BYTES, connections=256, client_timeout_s=10)

_HEADERS = ((b"x-content-type-options", b"nosniff"),)

log = structlog.get_logger(__name__)


class PushSubscription:
    """The subscription of this endpoint to the one topic: confirmed when SNS asks for it."""

    def __init__(self, origin: Origin, get: Get) -> None:
        self._origin = origin
        self._get = get

    async def confirm(self, envelope: Envelope) -> None:
        """Visits the address in a verified confirmation. Raises ``PushRefused`` if it is no
        address for confirmations, or ``PushUndecided`` if SNS does not answer."""
        url = envelope.subscribe_url or ""
        base = f"{self._origin.api_at}/?"
        expected = {
            "Action": "ConfirmSubscription",
            "TopicArn": self._origin.topic_arn,
            "Token": envelope.token,
        }
        query = url.removeprefix(base)
        parameters = parse_qsl(query, keep_blank_values=True)
        if query == url or sorted(parameters) != sorted(expected.items()):
            raise PushRefused("the address to visit is not that of a confirmation at SNS")
        await self._get(url)
        log.info("subscription confirmed", topic=self._origin.topic_arn)

    def ended(self, envelope: Envelope) -> None:
        """Logs the end. The address in the message would subscribe again, but whoever ended the
        subscription meant it."""
        log.warning(
            "the subscription was ended: workers find their tasks by looking now and then",
            topic=envelope.topic_arn,
        )


class PushEndpoint:
    """An ASGI application; ``wake`` is called with the service or topic that a wake-up
    notification names."""

    def __init__(
        self, verifier: Verifier, subscription: PushSubscription, wake: Callable[[str], None]
    ) -> None:
        self._verifier = verifier
        self._subscription = subscription
        self._wake = wake
        self._refusals = _RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive)
            response = HttpResponse(
                HTTPStatus.OK, [(b"cache-control", b"no-store"), (b"content-length", b"0")], b""
            )
        except Problem as problem:
            response = _refusal(problem.status, str(problem), problem.headers)
        except PushRefused as refused:
            self._refusals.add(str(refused))
            response = _refusal(HTTPStatus.FORBIDDEN, _REFUSED)
        except Exception as error:  # SNS gives up after a 500
            if not isinstance(error, PushUndecided):
                log.error("a message of SNS could not be handled", exc_info=error)
            else:
                self._refusals.add(str(error))
            later = {"Retry-After": str(_RETRY_AFTER_S)}
            response = _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Send it again later.", later)
        await send_response(send, response)

    async def _answer(self, scope: Scope, receive: Receive) -> None:
        path, method = scope["path"], scope["method"]
        allowed = {PATH: ("POST",), LIVE_PATH: ("GET", "HEAD")}.get(path)
        if allowed is None:
            raise Problem(NOT_FOUND, f"There is only {PATH} here.")
        if method not in allowed:
            allow = ", ".join(allowed)
            raise Problem(METHOD_NOT_ALLOWED, f"Use {allow}.", headers={"Allow": allow})
        if path == PATH:
            headers = dict(scope["headers"])
            _check_headers(headers)
            await self._handle(headers, await read_body(receive, MAX_BODY_BYTES))

    async def _handle(self, headers: dict[bytes, bytes], body: bytes) -> None:
        envelope = await self._verifier.verified(headers, body)
        try:
            if envelope.type == NOTIFICATION:
                self._wake(envelope.message)
            elif envelope.type == SUBSCRIPTION:
                await self._subscription.confirm(envelope)
            else:
                self._subscription.ended(envelope)
        except BaseException:
            self._verifier.release(envelope)
            raise


class _RefusalLog:
    """Logs each reason once in a while: a refused sender may try very often."""

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}

    def add(self, reason: str) -> None:
        now = time.monotonic()
        if now - self._logged_at.get(reason, -LOG_EVERY_S) >= LOG_EVERY_S:
            if len(self._logged_at) > 100:
                self._logged_at.clear()
            self._logged_at[reason] = now
            log.warning("a push was refused", reason=reason)


def endpoint_for(topic_arn: str, wake: Callable[[str], None]) -> PushEndpoint:
    """Makes the endpoint for a topic in AWS. Raises ``Misconfigured``."""
    origin = origin_of(topic_arn)
    trust = Trust(system_roots(), origin.certificate_names)
    return endpoint_of(origin, trust, Fetcher(), Fetcher(resolver=PublicAddresses()), wake)


def endpoint_of(
    origin: Origin,
    trust: Trust,
    sns: Fetcher,
    authority: Fetcher,
    wake: Callable[[str], None],
    clock: Callable[[], int] = now_us,
) -> PushEndpoint:
    """Makes an endpoint of given parts: ``sns`` reaches the origin's hosts, ``authority`` those
    where certificates of issuers are published."""
    keys = SigningKeys(origin, trust, sns.get, authority.get, clock)
    return PushEndpoint(Verifier(origin, keys, clock), PushSubscription(origin, sns.get), wake)


async def serve(
    endpoint: PushEndpoint,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    listening: Callable[[int], None] = lambda port: None,
) -> None:
    """Answers until ``stop`` is set. ``listening`` is called once with the port.

    Raises ``PortInUse`` or ``Misconfigured`` before anything is served.
    """
    await server.serve(endpoint, host, port, _LIMITS, stop, headers=_HEADERS, listening=listening)


def _check_headers(headers: Headers) -> None:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"text/plain":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "SNS sends text/plain.")
    check_body_headers(headers, MAX_BODY_BYTES)


def _refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Makes a response whose problem has no page: this server has none."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return Problem(about_blank(status), detail, headers=headers).response()
