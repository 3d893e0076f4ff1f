"""Requests as bytes, and answers as they come back over a socket."""

import json
import socket
from typing import Any

from httptools import HttpResponseParser
from msgspec import Struct

from tests.api.conftest import Running

LAMP = b'{"product_id":"lamp","quantity":1}'


class Answer(Struct):
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> str:
        """The type of its problem details, "" if it is none."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        details: dict[str, Any] = json.loads(self.body)
        assert details["status"] == self.status
        assert details["title"]
        assert details["detail"]
        return str(details["type"]).removeprefix("/problems/")


class _Reader:
    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.parser = HttpResponseParser(self)
        self.open = False

    def on_message_begin(self) -> None:
        self.open = True
        self.answers.append(Answer(0, {}, b""))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answers[-1].headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.answers[-1].body += body

    def on_message_complete(self) -> None:
        self.open = False
        self.answers[-1].status = self.parser.get_status_code()


def answers_in(received: bytes) -> list[Answer]:
    """All responses in some bytes. Fails if they are not HTTP, or if the last one is cut off."""
    reader = _Reader()
    reader.parser.feed_data(received)
    assert not reader.open, received
    return reader.answers


def post(body: bytes = LAMP, *headers: bytes, path: bytes = b"/purchases") -> bytes:
    """A whole request with these header lines."""
    lines = (b"Host: localhost", b"Content-Length: %d" % len(body), *headers)
    return b"POST %b HTTP/1.1\r\n%b\r\n\r\n%b" % (path, b"\r\n".join(lines), body)


def get(path: bytes = b"/health/live", *headers: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n\r\n" % (path, b"\r\n".join((b"Host: localhost", *headers)))


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    return received


def read_one(connection: socket.socket) -> Answer:
    """The next answer on a connection that stays open; nothing may come behind it."""
    reader = _Reader()
    while not reader.answers or reader.open:
        received = connection.recv(65_536)
        assert received, "the connection ended before the answer did"
        reader.parser.feed_data(received)
    (answer,) = reader.answers
    return answer


def exchange(running: Running, *sent: bytes) -> list[Answer]:
    """All answers to some bytes, sent in these pieces, until the server ends the connection."""
    with running.connect() as connection:
        for piece in sent:
            connection.sendall(piece)
        return answers_in(read_to_end(connection))
