"""Closes connections so that clients see the last answer, also those that still send."""

import asyncio
from collections.abc import Callable
from typing import Any

#: What a client still sends is discarded until it has sent nothing for this long, …
LINGER_S = 2.0
#: … or has sent this much.
LINGER_BYTES = 256 * 1_024 * 1_024


class LingeringTransport:
    """A transport that is closed in two steps where the client ``may_send`` yet: first it is told
    that no more will be said, and what comes is discarded until it ends, too.

    Closing at once would reset the connection, and with it what the client has not read: one that
    sends all of a body before it reads would never learn that it was too large. The second step
    comes after ``limit_s`` at the latest.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        limit_s: float,
        may_send: Callable[[], bool],
    ) -> None:
        self.write = transport.write
        self._transport = transport
        self._loop = loop
        self._limit_s = limit_s
        self._may_send = may_send
        self._lingers = False
        self._stopping = False
        self._ends_at_s = 0.0
        self._discarded = 0
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def close(self) -> None:
        if self._may_send() and not self._stopping:
            self.linger()
        else:
            self._transport.close()

    def linger(self) -> None:
        """Says that no more will be said, and waits for the client to say so, too."""
        if self.is_closing():
            return
        self._lingers = True
        try:
            if self._transport.can_write_eof():
                self._transport.write_eof()
        except OSError:  # the client is gone, and the loop has not heard of it yet
            self._transport.abort()
            return
        self._transport.resume_reading()
        self._ends_at_s = self._loop.time() + self._limit_s
        self._look_again()

    def discard(self, size: int) -> None:
        """Counts what came after the last answer."""
        self._discarded += size
        if self._lingers and self._discarded > LINGER_BYTES:
            self._transport.abort()

    def stop(self) -> None:
        """Notes that the server stops: no end waits for the client any more."""
        self._stopping = True
        if self._lingers:
            self._transport.abort()

    def lost(self) -> None:
        """Notes that the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_again(self) -> None:
        self._timer = self._loop.call_later(LINGER_S, self._is_it_over, self._discarded)

    def _is_it_over(self, discarded: int) -> None:
        if self._discarded == discarded or self._loop.time() >= self._ends_at_s:
            self._transport.abort()
        else:
            self._look_again()
