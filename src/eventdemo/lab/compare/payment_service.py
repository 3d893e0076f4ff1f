"""The payment service of a scenario: it answers after a delay, or fails, the same for all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httptools

_TAKEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class PaymentService:
    """``delay_s`` and ``fails`` may be changed while it runs; ``payments`` counts those taken."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.fails = False
        self.payments = 0
        self.port = 0
        self.connections: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/payments"

    def answer(self) -> bytes:
        """Takes a payment, or refuses it."""
        if self.fails:
            return _REFUSED
        self.payments += 1
        return _TAKEN


class _Connection(asyncio.Protocol):
    """Answers each request when its delay is over; the parser calls ``on_message_complete``."""

    def __init__(self, service: PaymentService) -> None:
        self._service = service
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._service.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        asyncio.get_running_loop().call_later(self._service.delay_s, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._service.answer())


@asynccontextmanager
async def payment_service(delay_s: float) -> AsyncIterator[PaymentService]:
    """Serves payments on a free port of loopback."""
    service = PaymentService(delay_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(service), "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for transport in tuple(service.connections):
            transport.abort()
        await asyncio.sleep(0)  # lets the connections end
