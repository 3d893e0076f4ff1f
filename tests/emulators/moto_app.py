"""moto's server in a process of its own: ``python -m tests.emulators.moto_app``.

Prints the port of 127.0.0.1 that it took, and ends when its standard input does.
"""

import sys
import threading
import traceback
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from tests.emulators import moto_speed, moto_tokens

#: Imported before the first request, which would wait for it.
SERVICES: tuple[Any, ...] = ("dynamodb", "sns", "sqs")


class OneAtATime:
    """Handles one DynamoDB request at a time.

    moto checks the conditions of a transaction and then writes, with nothing in between that
    keeps another thread out: twenty writers of one version have more than one winner.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "DynamoDB" not in environ.get("HTTP_X_AMZ_TARGET", ""):
            answer: Iterable[bytes] = self._application(environ, start_response)
            return answer
        with self._lock:
            try:
                return list(self._application(environ, start_response))
            except Exception:  # noqa: BLE001 - whatever it is, the test that meets it shows it
                start_response("500 moto failed", [("Content-Type", "text/plain")], sys.exc_info())
                return [traceback.format_exc().encode()]


class KeepAlive(MotoRequestHandler):
    """Connections that stay open, as AWS's do; and no line on standard error per request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def main() -> None:
    moto_speed.apply()
    moto_tokens.apply()
    application = DomainDispatcherApplication(create_backend_app)
    for service in SERVICES:
        backend = create_backend_app(service)
        backend.config["PROPAGATE_EXCEPTIONS"] = True
        application.app_instances[service] = backend
    server = make_server(
        "127.0.0.1", 0, OneAtATime(application), threaded=True, request_handler=KeepAlive
    )
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
