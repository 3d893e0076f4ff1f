"""HTTP/1.1 with limits: how large a request may be, how slowly it may come, from how many at once.

uvicorn's protocol parses and answers. What is here decides what gets that far.
"""

import asyncio
from typing import Any

import httptools
from msgspec import Struct
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from eventdemo.http.problems import (
    HEAD_TOO_LARGE,
    MALFORMED_REQUEST,
    PROBLEM_JSON,
    TOO_LARGE,
    TOO_MANY_CONNECTIONS,
    TOO_SLOW,
    URL_TOO_LONG,
    Problem,
)
from eventdemo.http.request_ids import HEADER, new_request_id

#: RFC 9112 asks for 8,000 at least.
MAX_URL_BYTES = 8_192
MAX_HEADERS = 100
#: Requests on one connection whose answers are still to come.
MAX_PIPELINED = 64
#: Connections beyond the limit that are told so; more are dropped without a word.
SPARE_CONNECTIONS = 64
#: How long a refusal may be read before the connection is gone.
LINGER_S = 2.0
# A body in chunks of one byte is six times as long on the wire.
_CHUNKING = 8
_SLICE_BYTES = 16_384

# What of a request is arriving.
_NOTHING, _HEAD, _BODY = range(3)

_NO_HTTP = "This is not a valid HTTP/1.1 request."
_NO_UPGRADE = "This server speaks HTTP/1.1 only: a request with a body must not ask for an Upgrade."
_DECLARES_BODY = frozenset({b"content-length", b"transfer-encoding"})


class Limits(Struct, frozen=True):
    """What one server takes."""

    head_bytes: int
    body_bytes: int
    connections: int
    client_timeout_s: float


class Protocol(HttpToolsProtocol):
    """One connection. The ``on_…`` methods are called by the parser while it is fed."""

    def __init__(
        self,
        limits: Limits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._slice_bytes = min(_SLICE_BYTES, limits.head_bytes)
        self._wire_bytes = limits.head_bytes + _CHUNKING * limits.body_bytes
        self._part = _NOTHING
        self._feeding = 0
        # Of the request that arrives, without the slice that it began in.
        self._received = 0
        self._refusal: Problem | None = None
        self._ended = False
        self._deadline: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    # --- the connection ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Whatever the client leaves unread starts the clock of ``pause_writing``.
        transport.set_write_buffer_limits(high=0)
        many = len(self.connections) - self._limits.connections
        if many > SPARE_CONNECTIONS:
            transport.abort()
        elif many > 0:
            self._refuse(Problem(TOO_MANY_CONNECTIONS, "Every connection is taken."))
        else:
            self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_deadline()
        self._stop_reading_clock()

    def data_received(self, data: bytes) -> None:
        if len(data) <= self._slice_bytes:
            self._feed(data)
        else:
            for start in range(0, len(data), self._slice_bytes):
                self._feed(data[start : start + self._slice_bytes])

    def _feed(self, data: bytes) -> None:
        if self._ended:
            return
        self._unset_keepalive_if_required()
        self._feeding = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The parser takes all that follows for another protocol's.
            self._end_after_answer()
        except httptools.HttpParserError:
            self._refuse(self._refusal or Problem(MALFORMED_REQUEST, _NO_HTTP))
        else:
            if self._part is _NOTHING and self._answering():
                self._stop_deadline()
            else:
                self._await_rest()

    def _await_rest(self) -> None:
        """Something is to come: it has a bounded size and a bounded time."""
        self._received += self._feeding
        if self._part is _HEAD and self._received > self._limits.head_bytes:
            self._refuse(self._head_too_large())
        elif self._part is _BODY and self._received > self._wire_bytes:
            self._refuse(Problem(TOO_LARGE, f"The body may have {self._limits.body_bytes} bytes."))
        elif self._deadline is None:
            self._start_deadline()

    # --- the parser -------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._part, self._received = _HEAD, -self._feeding
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._refusal = self._refused_by_head()
        if self._refusal:
            raise httptools.HttpParserError  # ends the feeding
        self._part = _BODY
        super().on_headers_complete()
        # Trailers come after the body and are no headers: nobody checked them.
        self.headers = []

    def on_message_complete(self) -> None:
        self._part = _NOTHING
        super().on_message_complete()

    def _refused_by_head(self) -> Problem | None:
        if len(self.url) > MAX_URL_BYTES or len(self.headers) > MAX_HEADERS:
            return self._head_too_large()
        # What came in one slice is not larger than one.
        if self._received >= 0 and self._head_bytes() > self._limits.head_bytes:
            return self._head_too_large()
        if self.parser.should_upgrade() and any(n in _DECLARES_BODY for n, _ in self.headers):
            return Problem(MALFORMED_REQUEST, _NO_UPGRADE)
        if len(self.pipeline) >= MAX_PIPELINED:
            return Problem(MALFORMED_REQUEST, f"{MAX_PIPELINED} requests wait for their answers.")
        return None

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _head_too_large(self) -> Problem:
        if len(self.url) > min(MAX_URL_BYTES, self._limits.head_bytes):
            return Problem(URL_TOO_LONG, f"An address may have {MAX_URL_BYTES} bytes.")
        detail = f"{MAX_HEADERS} headers and {self._limits.head_bytes} bytes in all are the limit."
        return Problem(HEAD_TOO_LARGE, detail)

    # --- the end ----------------------------------------------------------------------------

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, problem: Problem) -> None:
        """Ends the connection: with this answer if it is its turn, after the earlier ones if not.

        An answer out of turn would be taken for another request's.
        """
        if self._part is _BODY:
            if self.pipeline:
                self.transport.abort()
                return
            if not self.cycle.response_started:
                self.transport.write(self._wire(problem))
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        elif self._answering():
            self._end_after_answer()
            return
        else:
            self.transport.write(self._wire(problem))
        self._linger()

    def _end_after_answer(self) -> None:
        self._ended = True
        self._stop_deadline()
        self.cycle.keep_alive = False

    def _linger(self) -> None:
        """Says that no more will be said, and passes over what comes until the client ends, too.

        Closing at once would reset the connection, and with it what the client has not read yet.
        """
        self._ended = True
        self._stop_deadline()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.abort)

    def _wire(self, problem: Problem) -> bytes:
        request_id = new_request_id()
        body = problem.body(request_id)
        headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
        headers += [
            *self.server_state.default_headers,
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", str(len(body)).encode()),
            (HEADER, request_id),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return STATUS_LINE[problem.status] + lines + b"\r\n" + body

    # --- the clocks -------------------------------------------------------------------------

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self._limits.client_timeout_s, self._too_slow)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self._part is _NOTHING:
            self.transport.close()  # nothing was asked
            return
        limit_s = self._limits.client_timeout_s
        self._refuse(Problem(TOO_SLOW, f"A request has to arrive within {limit_s:g} s."))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_reading_clock()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_reading_clock()

    def _start_reading_clock(self) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        timeout_s = self._limits.client_timeout_s
        self._reading = self.loop.call_later(timeout_s, self._is_it_read, unread_bytes)

    def _stop_reading_clock(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _is_it_read(self, unread_bytes: int) -> None:
        if self.transport.get_write_buffer_size() >= unread_bytes:
            self.transport.abort()
        else:
            self._start_reading_clock()
