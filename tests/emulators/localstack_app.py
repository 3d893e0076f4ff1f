"""LocalStack's SQS and SNS in a process of its own: ``python localstack_app.py FOLDER``.

It runs in LocalStack's own environment, so it imports nothing of this project. It keeps what it
writes in the folder, prints the port of 127.0.0.1 that it took once both services answer, and
ends when its standard input does.
"""

import json
import os
import socket
import sys
import threading
import time
import urllib.request
import warnings
from typing import TextIO

from typing_extensions import deprecated


def main(folder: str) -> None:
    # What LocalStack says goes where errors go: standard output tells the port and no more.
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    port = _free_port()
    os.environ.update(_settings(folder, port))
    threading.Thread(target=_tell, args=(port, ready), daemon=True).start()
    threading.Thread(target=_end_with_input, daemon=True).start()
    _run()


def _settings(folder: str, port: int) -> dict[str, str]:
    return {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "SERVICES": "sqs,sns",
        "STRICT_SERVICE_LOADING": "1",
        "EAGER_SERVICE_LOADING": "1",
        # Queues are addressed by path: names below 127.0.0.1 resolve nowhere.
        "SQS_ENDPOINT_STRATEGY": "path",
        "LS_LOG": "warning",
        # Nothing is fetched, reported or resolved elsewhere.
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DNS_ADDRESS": "0",
        # In a container, and where it takes the machine for one, it writes below /var/lib.
        "OVERRIDE_IN_DOCKER": "0",
        "FILESYSTEM_ROOT": folder,
        "XDG_CACHE_HOME": folder,
        "HOME": folder,
    }


def _run() -> None:
    # LocalStack imports what Python has had since 3.13; without it, it finds none of its parts.
    vars(warnings).setdefault("deprecated", deprecated)
    from localstack.runtime.main import main as localstack  # type: ignore[import-not-found]

    localstack()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tell(port: int, ready: TextIO) -> None:
    url = f"http://127.0.0.1:{port}"
    while not _runs(f"{url}/_localstack/health"):
        time.sleep(0.1)
    # Its first request takes seconds, because most of it is imported then.
    urllib.request.urlopen(_request(url), timeout=60).close()
    print(port, file=ready, flush=True)


def _request(url: str) -> urllib.request.Request:
    scope = "000000000000/20000101/eu-central-1/sns/aws4_request"
    signed = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    listing = b"Action=ListTopics&Version=2010-03-31"
    return urllib.request.Request(url, listing, {"Authorization": signed})


def _runs(health: str) -> bool:
    try:
        with urllib.request.urlopen(health, timeout=5) as answer:
            services: dict[str, str] = json.load(answer)["services"]
    except (OSError, ValueError):
        return False
    return services["sqs"] == services["sns"] == "running"


def _end_with_input() -> None:
    sys.stdin.read()
    # It keeps nothing that would have to be written, and its own way of stopping may take long.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
