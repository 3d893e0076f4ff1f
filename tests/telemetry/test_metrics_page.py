"""Where the numbers are shown: on the API's page for its workers, else on a page of their own."""

import asyncio
import os
import re
import signal
import socket
from pathlib import Path

import httpx
import pytest

from eventdemo.errors import Misconfigured, PortInUse, StorageFull
from eventdemo.ports import Engine
from eventdemo.readmodels.projector import NAME, Projector
from eventdemo.readmodels.rebuild import rebuild
from eventdemo.telemetry.instruments import APPLIED, DECIDED, STORAGE_ERRORS, Meter
from eventdemo.telemetry.observer import Telemetry
from eventdemo.telemetry.prometheus import metrics_page
from tests.cli.conftest import Process, free_port
from tests.flow.driving import stock

pytestmark = pytest.mark.anyio

HEALTHY_S = 20


def value(page: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", page, re.MULTILINE)
    assert found, f"{series} is not shown"
    return float(found[1])


def test_the_api_shows_what_its_workers_count_also_after_one_was_killed(tmp_path: Path) -> None:
    port = free_port()
    with (
        Process(["up", "--port", port, "--data", tmp_path / "data"], tmp_path) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HEALTHY_S) as client,
    ):
        assert "answers at" in process.first_line()
        confirmed = 'eventdemo_purchases_decided_total{outcome="confirmed"}'
        for bought in (1, 2):
            wait = {"Prefer": f"wait={HEALTHY_S}"}
            answer = client.post("/purchases", json={"product_id": "sku-1"}, headers=wait)
            assert answer.json()["status"] == "confirmed"
            # Counted when the commit returns, a moment after the buyer may know.
            while value(page := client.get("/metrics").text, confirmed) < bought:
                pass
            assert value(page, confirmed) == bought
            assert value(page, "eventdemo_worker_restarts_total") == bought - 1
            assert value(page, "eventdemo_workers") == 1
            (worker,) = process.children()
            os.kill(worker, signal.SIGKILL)


async def test_a_worker_by_itself_answers_scrapes_on_its_port(meter: Meter) -> None:
    meter.add(DECIDED, "confirmed", 7)
    port = free_port()
    async with httpx.AsyncClient() as client:
        with metrics_page("127.0.0.1", port, meter):
            answer = await client.get(f"http://127.0.0.1:{port}/metrics")
        assert value(answer.text, 'eventdemo_purchases_decided_total{outcome="confirmed"}') == 7
        assert "eventdemo_build_info" in answer.text
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/metrics")


def test_a_port_that_cannot_be_had_is_told(meter: Meter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(PortInUse, match="--metrics-port"),
            metrics_page("127.0.0.1", port, meter),
        ):
            pass
    nowhere = metrics_page("203.0.113.9", free_port(), meter)
    with pytest.raises(Misconfigured, match="--metrics-host"), nowhere:
        pass


async def test_the_projector_tells_how_long_it_takes_and_whether_it_can(
    engine: Engine, meter: Meter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()
    telemetry = Telemetry(meter)
    read_all, failed = engine.pool.read_all, False

    async def read_or_fail(*, after_position: int, limit: int) -> object:
        nonlocal failed
        if sum(meter.read(APPLIED, "")):
            stop.set()
            failed = True
            raise StorageFull("no space is left")
        return await read_all(after_position=after_position, limit=limit)

    monkeypatch.setattr(engine.pool, "read_all", read_or_fail)
    await rebuild(engine.pool, tmp_path, lambda position, head: None)
    await stock(engine, "lamp", 1)
    await Projector(engine.pool, tmp_path, telemetry).run(stop)
    assert failed
    assert sum(meter.read(APPLIED, "")[:-1]) >= 1
    assert meter.read(STORAGE_ERRORS, NAME) == [1]
