"""Serves the application over HTTP/1.1 until it is told to stop."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from eventdemo.api.api import Api
from eventdemo.api.app import Application
from eventdemo.api.problems import MALFORMED_REQUEST, PROBLEM_JSON, Problem
from eventdemo.errors import Misconfigured, PortInUse
from eventdemo.ports import Engine
from eventdemo.readmodels.store import ReadModels
from eventdemo.settings import Settings

BACKLOG = 2_048
KEEP_ALIVE_S = 30
#: What still runs this long after the stop is cut off.
DRAIN_S = 2


async def serve(
    settings: Settings,
    engine: Engine,
    read_models: ReadModels,
    stop: asyncio.Event,
    *,
    listening: Callable[[int], None] = lambda port: None,
) -> None:
    """Answers requests until ``stop`` is set, then drains for at most ``DRAIN_S`` and returns.

    ``listening`` is called once with the port, before the first request. Signals are the
    caller's. Raises ``PortInUse`` or ``Misconfigured`` before anything is served.
    """
    listener = bind(settings.host, settings.port)
    api = Api(settings, engine, read_models)
    server = _Server(_config(Application(api)), api, stop)
    listening(listener.getsockname()[1])
    await server.serve(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on an address; port 0 is any free one."""
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        raise Misconfigured(f"{host} is no address: use --host 127.0.0.1 or another") from None
    listener = socket.socket(family, kind, protocol)
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


class Protocol(HttpToolsProtocol):
    """Answers what is no HTTP with problem details too."""

    def send_400_response(self, msg: str) -> None:
        body = Problem(MALFORMED_REQUEST, "This is not a valid HTTP/1.1 request.").body
        head = (
            f"content-type: {PROBLEM_JSON}\r\n"
            f"content-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[400] + head.encode() + body)
        self.transport.close()


class _Server(uvicorn.Server):
    """Waits for an event where uvicorn looks ten times a second, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config, api: Api, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._api = api
        self._stop = stop

    async def main_loop(self) -> None:
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._api.stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
