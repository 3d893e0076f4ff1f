"""Small downloads from hosts that are known beforehand: bounded, without redirects or proxies."""

import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from eventdemo.aws.push.envelope import PushUndecided

Get = Callable[[str], Awaitable[bytes]]

#: SNS gives up waiting for our answer after 15 s; a confirmation takes up to three downloads.
TIMEOUT_S = 4.0
MAX_BYTES = 65_536


class PublicAddresses(aiohttp.ThreadedResolver):
    """Resolves names to public addresses only: for plain HTTP, where no TLS authenticates the host,
    so that no name leads into this network."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await super().resolve(host, port, family)
        public = [result for result in results if ipaddress.ip_address(result["host"]).is_global]
        if not public:
            raise OSError(None, "it has no public address")
        return public


class Fetcher:
    """Downloads from addresses that the caller has checked."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._tls = tls
        self._resolver = resolver
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def get(self, url: str) -> bytes:
        """Returns the body of a 200. Raises ``PushUndecided`` for anything else."""
        try:
            connector = aiohttp.TCPConnector(
                ssl=self._tls or True, resolver=self._resolver, force_close=True
            )
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=self._timeout,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                ) as session,
                session.get(url, allow_redirects=False) as answer,
            ):
                return await _body(answer)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise PushUndecided(f"{url.partition('?')[0]} gives nothing: {error!r}") from None


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    if answer.status != 200:
        raise aiohttp.ClientPayloadError(f"status {answer.status}")
    body = b""
    async for part in answer.content.iter_any():
        body += part
        if len(body) > MAX_BYTES:
            raise aiohttp.ClientPayloadError(f"more than {MAX_BYTES} bytes")
    return body
