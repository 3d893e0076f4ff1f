"""A shop that oversells: it confirms whoever buys, and its shelf says less."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

UNITS = 3


class _Liar(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self._answer(201, {})

    def do_POST(self) -> None:
        if self.path == "/purchases":
            self._answer(202, {"request_id": "1", "status": "pending"})
        else:
            self._answer(200, {})

    def do_GET(self) -> None:
        if self.path.startswith("/purchases"):
            self._answer(200, {"request_id": "1", "status": "confirmed", "order_id": "1"})
        else:
            self._answer(200, {"received": UNITS, "available": 0})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base names it
        pass

    def _answer(self, status: int, body: object) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def liar() -> Iterator[str]:
    """The address of the shop."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Liar) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
