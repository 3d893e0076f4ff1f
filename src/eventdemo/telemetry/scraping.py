"""A worker's own page for Prometheus, where no API beside it shows its numbers."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from eventdemo.errors import Misconfigured, PortInUse
from eventdemo.telemetry import families
from eventdemo.telemetry.meter import Meter


class Gathered(Collector):
    """Families of metrics as ``prometheus_client`` wants to be handed them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Worker(Collector):
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def collect(self) -> Iterable[Metric]:
        yield from families.counted([self._meter])
        yield from families.of_processes({"worker": os.getpid()})


@contextmanager
def scraped(host: str, port: int, meter: Meter) -> Iterator[None]:
    """Answers scrapes meanwhile. Raises ``PortInUse`` or ``Misconfigured`` if it cannot."""
    try:
        server, thread = start_http_server(port, host, _Worker(meter))
    except OSError as error:
        where = f"port {port} on {host}"
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"{where} is in use: choose another --metrics-port") from None
        raise Misconfigured(
            f"cannot listen on {where} ({error.strerror}): choose another --metrics-host"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
