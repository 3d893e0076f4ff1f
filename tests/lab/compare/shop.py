"""A shop that answers as a contender does, and can be made to stand still."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httptools


class Shop:
    """Sells everything. While it is frozen, nobody is answered; ``pending`` answers come first."""

    def __init__(self, *, pending: bool = False, refuse_every: int = 0) -> None:
        self.port = 0
        self.purchases = 0
        self.pending = pending
        self.refuse_every = refuse_every
        self.connections: set[asyncio.Transport] = set()
        self.running = asyncio.Event()
        self.running.set()

    async def freeze(self, after_s: float, seconds: float) -> None:
        await asyncio.sleep(after_s)
        self.running.clear()
        await asyncio.sleep(seconds)
        self.running.set()

    def answer(self, method: bytes, target: bytes) -> bytes:
        if method == b"POST":
            self.purchases += 1
            if self.refuse_every and self.purchases % self.refuse_every == 0:
                return _response(b"503 Service Unavailable", b"{}")
            status = b"202 Accepted" if self.pending else b"200 OK"
            return _response(
                status, _body(str(uuid4()), "pending" if self.pending else "confirmed")
            )
        request_id = target.partition(b"?")[0].rpartition(b"/")[2].decode()
        return _response(b"200 OK", _body(request_id, "confirmed"))


class _Connection(asyncio.Protocol):
    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.parser = httptools.HttpRequestParser(self)
        self.target = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.shop.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.shop.connections.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.target = url

    def on_message_complete(self) -> None:
        response = self.shop.answer(self.parser.get_method(), self.target)
        if self.shop.running.is_set():
            self.transport.write(response)
        else:
            self.waiting = asyncio.ensure_future(self._answer_later(response))

    async def _answer_later(self, response: bytes) -> None:
        await self.shop.running.wait()
        self.transport.write(response)


@asynccontextmanager
async def open_shop(shop: Shop) -> AsyncIterator[Shop]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(shop), "127.0.0.1", 0)
    shop.port = server.sockets[0].getsockname()[1]
    try:
        yield shop
    finally:
        server.close()
        for _ in range(5):  # some were accepted and have no transport yet
            for transport in tuple(shop.connections):
                transport.abort()
            await asyncio.sleep(0.02)


def _body(request_id: str, status: str) -> bytes:
    return f'{{"request_id":"{request_id}","status":"{status}"}}'.encode()


def _response(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
