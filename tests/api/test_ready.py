"""Ready means that purchases are accepted, decided and seen; if not, the reasons are said: in the
answer, in a metric, and in one line of the log when that changes."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from msgspec import Struct
from structlog.testing import capture_logs
from structlog.typing import EventDict

from eventdemo.api import readiness
from eventdemo.api.readiness import REASONS, Readiness
from eventdemo.flow import SERVICES
from eventdemo.lab.soak.sandbox import CannotMount, mounted
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_embedded
from eventdemo.telemetry.instruments import LOOKED, Meter
from tests.api.conftest import Start, assert_problem

PATIENCE_S = 60.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def reasons(client: httpx.Client) -> set[str]:
    """Why the server is not ready, as its probe and its metrics say alike."""
    answer = client.get("/health/ready")
    if answer.status_code == 200:
        return set()
    details = assert_problem(answer, 503, "not-ready")
    assert answer.headers["retry-after"]
    return {error["field"] for error in details["errors"]}


def metrics_say(client: httpx.Client) -> set[str]:
    lines = client.get("/metrics").text.splitlines()
    series = {reason: f'eventdemo_not_ready{{reason="{reason}"}}' for reason in REASONS}
    assert all(any(line.startswith(name) for line in lines) for name in series.values())
    return {reason for reason, name in series.items() if f"{name} 1.0" in lines}


def changes(logs: list[EventDict]) -> list[tuple[str, str]]:
    events = ("not ready", "no longer amiss")
    return [(log["event"], log["reason"]) for log in logs if log["event"] in events]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with mounted(tmp_path / "disk", 8_000_000):
            yield tmp_path / "disk"
    except CannotMount as error:
        pytest.skip(str(error))


def test_a_full_disk_is_not_ready_until_there_is_room(start: Start, small_disk: Path) -> None:
    running = start(data=small_disk / "data")
    with running.client() as client, capture_logs() as logs:
        until(lambda: not reasons(client))
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 100_000):
                pass
        for _ in range(5):
            until(lambda: reasons(client) == {"storage_full"})
            until(lambda: metrics_say(client) == {"storage_full"})
        ballast.unlink()
        until(lambda: not reasons(client))
        until(lambda: not metrics_say(client))
        assert client.post("/purchases", json={"product_id": "x"}).status_code == 202
    running.stop()
    assert changes(logs) == [("not ready", "storage_full"), ("no longer amiss", "storage_full")]


def test_storage_that_was_lost_is_not_ready_until_it_is_back(start: Start, tmp_path: Path) -> None:
    running = start(data=tmp_path / "data", services=(), projector=False)
    with running.client() as client:
        assert not reasons(client)
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        until(lambda: reasons(client) == {"storage_lost"})
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        (tmp_path / "elsewhere").rename(tmp_path / "data")
        until(lambda: not reasons(client))
    running.stop()


def test_read_models_that_stand_still_are_not_ready(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "STANDSTILL_S", 0.1)
    first = start(data=tmp_path / "data")
    with first.client() as client:
        client.put("/products/a", json={"name": "A", "price_cents": 1}).raise_for_status()
        until(lambda: client.get("/products/a").status_code == 200)
    first.stop()
    alone = start(data=tmp_path / "data", projector=False)
    with alone.client() as client:
        assert not reasons(client)
        client.put("/products/b", json={"name": "B", "price_cents": 1}).raise_for_status()
        until(lambda: reasons(client) == {"read_models"})
        until(lambda: metrics_say(client) == {"read_models"})
    alone.stop()
    last = start(data=tmp_path / "data")
    with last.client() as client:
        until(lambda: not reasons(client))
    last.stop()


def test_where_nobody_builds_read_models_nobody_says_so(start: Start) -> None:
    with start(services=(), projector=False).client() as client:
        client.put("/products/a", json={"name": "A", "price_cents": 1}).raise_for_status()
        assert not reasons(client)
        detail = assert_problem(client.get("/products"), 503, "behind")["detail"]
        assert detail.startswith("Nobody builds the read models here")


class WorkerBeside(Struct):
    """A worker process as the API knows it."""

    meter: Meter
    name: str = "worker-1"
    pid: int | None = os.getpid()
    restarts: int = 0


@pytest.mark.anyio
async def test_who_has_workers_is_ready_while_each_service_is_looked_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LASTS_S", 0.0)
    engine, read_models = await open_embedded(None), ReadModels(tmp_path)
    first, second = WorkerBeside(Meter()), WorkerBeside(Meter())
    ready = Readiness(engine, read_models, [first, second])

    async def amiss() -> set[str]:
        return set((await ready.look()).amiss)

    with capture_logs() as logs:
        assert await amiss() == {"undecided"}
        for service in SERVICES[1:]:
            first.meter.set(LOOKED, service, time.time())
        assert "purchase_task" in (await ready.look()).amiss["undecided"]
        second.meter.set(LOOKED, "purchase_task", time.time())
        assert await amiss() == set()
        second.meter.set(LOOKED, "purchase_task", time.time() - readiness.STANDSTILL_S - 1)
        assert await amiss() == {"undecided"}
        second.meter.set(LOOKED, "purchase_task", time.time())
        assert await amiss() == set()
        second.pid = None
        assert await amiss() == {"undecided"}
    assert changes(logs) == [("not ready", "undecided"), ("no longer amiss", "undecided")] * 2 + [
        ("not ready", "undecided")
    ]
    assert not (await Readiness(engine, read_models).look()).amiss  # others decide
    await read_models.close()
    await engine.close()


FIRST_PURCHASE = """
import asyncio, sys, tempfile, urllib.request
from pathlib import Path
from eventdemo.api.app import serve
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings

async def main(folder):
    settings, stop, loaded = Settings(port=0, data=folder), asyncio.Event(), set()
    engine, read_models = await open_engine(settings), ReadModels(settings.read_models)
    port = asyncio.get_running_loop().create_future()

    def listening(number):
        loaded.update(sys.modules)
        port.set_result(number)

    async def buy():
        request = b'POST /purchases HTTP/1.1\\nHost: localhost\\nContent-Length: 18\\n\\n'
        request = request.replace(b'\\n', b'\\r\\n')
        reader, writer = await asyncio.open_connection("127.0.0.1", await port)
        writer.write(request + b'{"product_id":"x"}')
        assert b" 202 " in await reader.readline()
        writer.close()
        stop.set()

    await asyncio.gather(serve(settings, engine, read_models, stop, listening=listening), buy())
    print(*sorted(set(sys.modules) - loaded))
    await read_models.close()
    await engine.close()

with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(Path(folder)))
"""


def test_the_first_purchase_loads_nothing_that_the_next_finds_loaded() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_PURCHASE], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("\n", "")
