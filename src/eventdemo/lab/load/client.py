"""An HTTP/1.1 client for load, and what it reads of the API's responses: no more than it needs.

It has keep-alive connections, one write per request, and callbacks. A general client spends as
much of a core on a request as the server does, and would be the limit of every measurement.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import cast

import httptools
import msgspec
from msgspec import Struct

from eventdemo.errors import EventdemoError
from eventdemo.flow import SESSION_CACHE

#: ``done(status, body)``; status 0 when no answer came, and the body says why.
Done = Callable[[int, bytes], None]

RECONNECT_DELAY_S = 0.1
CALL_TIMEOUT_S = 30.0
#: The shortest sleep that is one: uvloop turns a shorter one into a busy wait on the server's core.
TICK_S = 0.001


class LoadFailed(EventdemoError):
    """The load could not be prepared, or nothing of it was accepted."""


async def sleep_until(due: float) -> float:
    """Sleeps until a time of ``perf_counter``; returns how many seconds later it is."""
    while (early := due - perf_counter()) > 0:
        await asyncio.sleep(max(early, TICK_S))
    return -early


class LoadClient:
    """A fixed number of connections to one server; requests wait for one that is free.

    A lost connection fails the request on it and is opened again until ``close``.
    """

    def __init__(self, host: str, port: int, connections: int) -> None:
        self._address = (host, port)
        self._connections = connections
        self._idle: deque[_Connection] = deque()
        self._queue: deque[tuple[bytes, Done]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[_Connection] = set()
        self._closed = False

    async def open(self) -> None:
        """Opens all connections; raises ``OSError`` if the server does not take them."""
        await asyncio.gather(*(self._connect() for _ in range(self._connections)))

    async def close(self) -> None:
        """Closes all; requests without an answer get status 0."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in tuple(self._open):
            connection.abort()
        while self._queue:
            _, done = self._queue.popleft()
            done(0, b"never sent")
        await asyncio.sleep(0)  # lets the transports tell that they are closed

    def send(self, request: bytes, done: Done) -> None:
        """Sends a request as soon as a connection is free."""
        if self._idle:
            self._idle.pop().start(request, done)
        else:
            self._queue.append((request, done))

    async def call(self, request: bytes) -> tuple[int, bytes]:
        """Sends a request and returns its status and body."""
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

        def done(status: int, body: bytes) -> None:
            if not answer.done():
                answer.set_result((status, body))

        self.send(request, done)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await answer
        except TimeoutError:
            return 0, f"no answer in {CALL_TIMEOUT_S:g} s".encode()

    def encode(self, method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
        """A whole request, for one write. ``headers`` are lines that end in CRLF."""
        host, port = self._address
        if body:
            headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}\r\n".encode() + body

    async def get(self, path: str) -> tuple[int, bytes]:
        """Returns the status and body of a GET."""
        return await self.call(self.encode("GET", path))

    async def put_on_sale(self, product_id: str, name: str, units: int, headers: str = "") -> None:
        """Registers a product and its units. Raises ``LoadFailed`` with the server's reason."""
        product = f"/products/{product_id}"
        commands = [("PUT", product, msgspec.json.encode({"name": name, "price_cents": 100}))]
        if units:
            commands.append(("POST", f"{product}/stock", msgspec.json.encode({"quantity": units})))
        for method, path, body in commands:
            status, answer = await self.call(self.encode(method, path, body, headers))
            if status not in (200, 201):
                raise LoadFailed(f"{method} {path} was refused: {reason(status, answer)}")

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self._free, self._lost), *self._address
        )
        self._open.add(connection)
        self._free(connection)

    def _free(self, connection: "_Connection") -> None:
        if self._queue:
            connection.start(*self._queue.popleft())
        else:
            self._idle.append(connection)

    def _lost(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._closed:
            task = asyncio.get_running_loop().create_task(self._reconnect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reconnect(self) -> None:
        while True:
            try:
                return await self._connect()
            except OSError:
                await asyncio.sleep(RECONNECT_DELAY_S)


class _Connection(asyncio.Protocol):
    """One request at a time; the parser calls the ``on_…`` methods."""

    def __init__(
        self, free: Callable[["_Connection"], None], lost: Callable[["_Connection"], None]
    ) -> None:
        self._free = free
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._done: Done | None = None
        self._body = b""

    def start(self, request: bytes, done: Done) -> None:
        self._done = done
        self._transport.write(request)

    def abort(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio and uvloop both set TCP_NODELAY, without which small requests wait for each other.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        done, body = self._done, self._body
        self._done, self._body = None, b""
        keep = self._parser.should_keep_alive()
        if done:
            done(self._parser.get_status_code(), body)
        if keep:
            self._free(self)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done:
            done, self._done = self._done, None
            done(0, b"connection lost")
        self._lost(self)


class Counts(Struct, frozen=True):
    """What the flow has done since the system began, and what it has yet to do, at one moment."""

    confirmed: int = 0
    failed: int = 0
    open: int = 0

    @property
    def decided(self) -> int:
        return self.confirmed + self.failed


class AcceptedResponse(Struct):
    """The 202."""

    request_id: str


class FailureReason(Struct):
    """Why a purchase failed, by its code."""

    code: str


class PurchaseResponse(Struct):
    """Where a purchase stands."""

    status: str
    order_id: str | None = None
    failure: FailureReason | None = None


class _Hop(Struct):
    service: str
    says: list[str]
    waiting: int
    in_flight: int
    done: int


class _Flow(Struct):
    hops: list[_Hop]


class _Problem(Struct):
    detail: str


read_accepted = msgspec.json.Decoder(AcceptedResponse).decode
read_status = msgspec.json.Decoder(PurchaseResponse).decode
_read_flow = msgspec.json.Decoder(_Flow).decode
_read_problem = msgspec.json.Decoder(_Problem).decode


def read_counts(answer: bytes) -> Counts:
    """The counts of ``GET /flow``: what the services that tell the buyer have done."""
    hops = _read_flow(answer).hops
    last = {hop.service: hop.done for hop in hops if str(SESSION_CACHE) in hop.says}
    confirmed = last.pop("order_creation", 0)
    to_do = sum(hop.waiting + hop.in_flight for hop in hops)
    return Counts(confirmed, sum(last.values()), to_do)


def reason(status: int, answer: bytes) -> str:
    """Why a request failed, in words."""
    if status == 0:
        return answer.decode()
    try:
        return f"{status}: {_read_problem(answer).detail}"
    except msgspec.MsgspecError:
        return str(status)
