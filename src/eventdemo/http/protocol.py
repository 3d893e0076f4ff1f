"""HTTP/1.1 with limits: how large a request may be, how slowly it may come, from how many at once.

uvicorn's protocol parses and answers. What is here decides what gets that far.
"""

import asyncio
from typing import Any

import httptools
from msgspec import Struct
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from eventdemo.http.heads import check_version, no_target, origin_form
from eventdemo.http.lingering import LingeringTransport
from eventdemo.http.problems import (
    HEAD_TOO_LARGE,
    MALFORMED_REQUEST,
    NOT_IMPLEMENTED,
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
# A body in chunks of one byte is six times as long on the wire.
_CHUNKING = 8
_SLICE_BYTES = 16_384

# What of a request is arriving.
_NOTHING, _HEAD, _BODY = range(3)

_NO_HTTP = "This is not a valid HTTP/1.1 request."


class Limits(Struct, frozen=True):
    """What one server takes."""

    head_bytes: int
    body_bytes: int
    connections: int
    client_timeout_s: float


class Protocol(HttpToolsProtocol):
    """One connection. The ``on_…`` methods are called by the parser while it is fed.

    ``cycle`` is the newest request with its answer, ``pipeline`` holds those that wait for theirs,
    the newest first.
    """

    transport: LingeringTransport  # type: ignore[assignment]

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
        self._answered: RequestResponseCycle | None = None
        self._ended = False
        self._deadline: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    # --- the connection ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        polite = LingeringTransport(
            transport, self.loop, self._limits.client_timeout_s, self._may_send
        )
        super().connection_made(polite)  # type: ignore[arg-type]
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
        # The newest request is told; it need not be the one that is answered.
        self.pipeline.clear()
        if self._answered is not None:
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)
        self.transport.lost()
        self._unset_keepalive_if_required()
        self._stop_deadline()
        self._stop_reading_clock()

    def shutdown(self) -> None:
        self.transport.stop()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        if len(data) <= self._slice_bytes:
            self._feed(data)
        else:
            for start in range(0, len(data), self._slice_bytes):
                self._feed(data[start : start + self._slice_bytes])

    def _feed(self, data: bytes) -> None:
        if self._ended:
            self.transport.discard(len(data))
            return
        self._unset_keepalive_if_required()
        self._feeding = len(data)
        try:
            while data:
                data = self._parse(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or Problem(MALFORMED_REQUEST, _NO_HTTP))
        else:
            if self._part is _NOTHING and self._answering():
                self._stop_deadline()
            else:
                self._await_rest()

    def _parse(self, data: bytes) -> bytes:
        """Feeds the parser; returns what has to be fed again, behind a wish for another protocol.

        The wish is ignored (RFC 9110, 7.8), but the parser takes all behind it, a body too, for
        the other protocol's: a new one reads the request without it. In a trailer it comes when
        its request is complete.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head = self._without_upgrade() if self._part is _HEAD else b""
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            return head + data[upgrade.args[0] :]
        return b""

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
        try:
            self._check_head()
            if self.parser.should_upgrade():
                return
            super().on_headers_complete()
        except Problem as problem:
            self._refusal = problem
            raise  # ends the feeding
        except httptools.HttpParserInvalidURLError:
            self._refusal = no_target()
            raise
        self._part = _BODY
        # Trailers come after the body and are no headers: nobody checked them.
        self.headers = []

    def _without_upgrade(self) -> bytes:
        """The head that arrived, without its wish for another protocol."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        headers = [header for header in self.headers if header[0] != b"upgrade"]
        if len(headers) == len(self.headers):
            raise httptools.HttpParserError("it would be read without end")
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, lines)

    def on_message_complete(self) -> None:
        if self._part is _HEAD:
            return  # it is read again, without its wish for another protocol
        self._part = _NOTHING
        super().on_message_complete()

    def _check_head(self) -> None:
        """Raises ``Problem`` for what is refused whatever it asks for."""
        if len(self.url) > MAX_URL_BYTES or len(self.headers) > MAX_HEADERS:
            raise self._head_too_large()
        # What came in one slice is not larger than one.
        if self._received >= 0 and self._head_bytes() > self._limits.head_bytes:
            raise self._head_too_large()
        if len(self.pipeline) >= MAX_PIPELINED:
            raise Problem(MALFORMED_REQUEST, f"{MAX_PIPELINED} requests wait for their answers.")
        check_version(self.parser.get_http_version())
        if not self.url.startswith(b"/"):
            self._read_target()

    def _read_target(self) -> None:
        """Reads a target that is no path. The host that it names counts, not the header's."""
        if self.parser.get_method() == b"CONNECT":
            raise Problem(NOT_IMPLEMENTED, "This server is no proxy: it does not know CONNECT.")
        authority, self.url = origin_form(self.url)
        if authority:
            others = [header for header in self.headers if header[0] != b"host"]
            hosts = len(self.headers) - len(others)
            if hosts or self.parser.get_http_version() == "1.0":
                self.headers[:] = [*others, *[(b"host", authority)] * max(1, hosts)]

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

    def _may_send(self) -> bool:
        """Whether more of a request may come although the connection is about to end."""
        return self._ended or self._part is _BODY

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self, problem: Problem) -> None:
        """Ends the connection: with this answer if it is its turn, after the earlier ones if not.

        An answer out of turn would be taken for another request's.
        """
        if self._part is _BODY and self.pipeline:
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._answered  # type: ignore[assignment]
            self._end_after_answer()
        elif self._part is _BODY:
            if not self.cycle.response_started:
                self.transport.write(self._wire(problem))
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._end()
        elif self._answering():
            self._end_after_answer()
        else:
            self.transport.write(self._wire(problem))
            self._end()

    def _end_after_answer(self) -> None:
        self._ended = True
        self._stop_deadline()
        self.cycle.keep_alive = False

    def _end(self) -> None:
        self._ended = True
        self._stop_deadline()
        self.transport.linger()

    def _wire(self, problem: Problem) -> bytes:
        request_id = new_request_id()
        body = problem.body(request_id)
        headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
        headers += [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", str(len(body)).encode()),
            (HEADER, request_id),
            (b"connection", b"close"),
        ]
        headers = self.server_state.default_headers + headers
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
