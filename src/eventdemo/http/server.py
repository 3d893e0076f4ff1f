"""Serves an application over HTTP/1.1 until it is told to stop."""

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import cast

import structlog
import uvicorn

from eventdemo.errors import Misconfigured, PortInUse
from eventdemo.http import AsgiApplication
from eventdemo.http.dates import DatedHeaders
from eventdemo.http.protocol import SPARE_CONNECTIONS, Limits, Protocol

BACKLOG = 2_048
KEEP_ALIVE_S = 30
#: What still runs this long after the stop is cut off.
DRAIN_S = 2
#: Open files that are no connections: the databases, their logs and locks, and what libraries open.
FILES_BESIDE = 128

log = structlog.get_logger(__name__)


async def _nothing() -> None:
    pass


async def serve(
    application: AsgiApplication,
    host: str,
    port: int,
    limits: Limits,
    stop: asyncio.Event,
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    listening: Callable[[int], None] = lambda port: None,
    stopping: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """Answers requests until ``stop`` is set, then drains for at most ``DRAIN_S`` and returns.

    ``headers`` and a ``Date`` are in every response, also to what is no HTTP. ``listening`` is
    called once with the port, before the first request; ``stopping`` is awaited before draining.
    Signals are the caller's. Raises ``PortInUse`` or ``Misconfigured`` before anything is served.
    """
    listener = bind(host, port)
    config = configured(application, limits)
    config.load()  # else the first request would wait for it
    server = HttpServer(config, stopping, stop)
    server.server_state.default_headers = DatedHeaders(headers)
    listening(listener.getsockname()[1])
    await server.serve(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on an address; port 0 is any free one."""
    try:
        (family, type_, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        raise Misconfigured(f"{host} is no address: use --host 127.0.0.1 or another") from None
    listener = socket.socket(family, type_, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} is in use: stop what listens there, or use --port"
            ) from None
        raise Misconfigured(
            f"cannot listen on {host} port {port} ({error.strerror}): use another --host or --port"
        ) from None
    listener.setblocking(False)
    return listener


class HttpServer(uvicorn.Server):
    """Waits for an event where uvicorn looks ten times a second, and leaves signals alone."""

    def __init__(
        self, config: uvicorn.Config, stopping: Callable[[], Awaitable[None]], stop: asyncio.Event
    ) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._stop = stop

    async def main_loop(self) -> None:
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stopping()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def connections_within(limit: int) -> int:
    """As many connections as there may be open files, whose limit is raised as far as needed.

    Beyond it no connection could be refused politely, and no file be opened.
    """
    needed = limit + SPARE_CONNECTIONS + FILES_BESIDE
    allowed, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed < needed and allowed != resource.RLIM_INFINITY:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS has a limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            allowed = raised
        if allowed < needed:
            possible = max(1, allowed - SPARE_CONNECTIONS - FILES_BESIDE)
            log.warning("fewer connections than wanted", limit=limit, possible=possible)
            return possible
    return limit


def configured(application: AsgiApplication, limits: Limits) -> uvicorn.Config:
    """HTTP/1.1 within limits, and nothing else."""
    return uvicorn.Config(
        application,
        http=cast(type[asyncio.Protocol], partial(Protocol, limits)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,  # uvicorn's is written by a timer that ticks
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
