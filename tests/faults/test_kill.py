"""Processes are killed with ``kill -9`` in the middle of the work: every 202 has one outcome."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from eventdemo.audit import audit
from eventdemo.audit.receipt import Receipt
from eventdemo.ids import order_id
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings
from tests.cli.conftest import Process, free_port

PATIENCE_S = 120.0
STOP_S = 5.0


class Deployment:
    """Processes on one data folder, and a buyer who remembers what was promised to them."""

    patience_s = PATIENCE_S

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.started: list[Process] = []
        self.accepted: list[str] = []
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    @property
    def settings(self) -> Settings:
        """What all of them run with."""
        return Settings(data=self.data)

    def start(self, *arguments: str) -> Process:
        settings = self.settings
        urls = {
            "--event-pool": settings.event_pool,
            "--topics": settings.topics,
            "--session-cache": settings.session_cache,
        }
        options = [part for option in urls.items() for part in option]
        process = Process([*arguments, "--data", settings.data, *options], self.folder)
        self.started.append(process)
        return process

    def serve(self, command: str = "serve") -> Process:
        """The API, once it answers."""
        api = self.start(command, "--port", str(self.port))
        assert str(self.port) in api.first_line(), api.said()
        return api

    def close(self) -> None:
        self.client.close()
        for process in self.started:
            process.__exit__()

    def stock(self, product_id: str, units: int) -> None:
        put = {"name": product_id.title(), "price_cents": 100}
        self.client.put(f"/products/{product_id}", json=put).raise_for_status()
        restock = {"quantity": units}
        self.client.post(f"/products/{product_id}/stock", json=restock).raise_for_status()

    def buy(self, product_id: str, count: int) -> None:
        """Buys until the API is gone; what it promised until then counts."""
        for _ in range(count):
            try:
                answer = self.client.post("/purchases", json={"product_id": product_id})
            except httpx.TransportError:
                return
            assert answer.status_code == 202, answer.text
            self.accepted.append(answer.json()["request_id"])

    def outcomes(self) -> dict[str, dict[str, object]]:
        """The outcome of each accepted purchase, waited for."""
        told: dict[str, dict[str, object]] = {}
        deadline = time.monotonic() + self.patience_s
        for request_id in self.accepted:
            while request_id not in told:
                assert time.monotonic() < deadline, f"{request_id} has no outcome"
                answer = self.client.get(f"/purchases/{request_id}", params={"wait": 5})
                assert answer.status_code == 200, answer.text
                if answer.json()["status"] != "pending":
                    told[request_id] = answer.json()
        return told

    def receipt(self) -> Receipt:
        """The audit's, over everything that is stored."""

        async def read() -> Receipt:
            settings = self.settings
            engine = await open_engine(settings)
            models = ReadModels(settings.read_models / await engine.pool.identity())
            try:
                await models.reach(await engine.pool.head(), self.patience_s)
                return await audit(engine, models)
            finally:
                await models.close()
                await engine.close()

        return asyncio.run(read())

    def all_is_well(self, units: dict[str, int]) -> Receipt:
        """Each 202 has one outcome, as many are confirmed as could be, and nothing contradicts."""
        assert len(set(self.accepted)) == len(self.accepted)
        told = self.outcomes()
        for request_id, outcome in told.items():
            if outcome["status"] == "confirmed":
                assert outcome["order_id"] == order_id(request_id)
            else:
                assert outcome["failure"]["code"] == "out_of_stock"  # type: ignore[index]
        receipt = self.receipt()
        assert receipt.broken == []
        assert receipt.pending == 0
        # One that was accepted when the API died may not have been told so.
        assert receipt.accepted >= len(self.accepted)
        for product_id, count in units.items():
            shelf = receipt.products[product_id]
            assert shelf.received == count
        assert receipt.confirmed == sum(shelf.reserved for shelf in receipt.products.values())
        assert self.outcomes() == told, "and none of them changes"
        return receipt


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.close()


def kill(process: Process) -> None:
    process.signal(signal.SIGKILL)
    assert process.ends() == -signal.SIGKILL


def test_workers_that_are_killed_in_the_middle_lose_nothing(deployment: Deployment) -> None:
    """Two workers share the services; one after the other is killed while purchases come in."""
    deployment.serve()
    deployment.stock("lamp", 170)
    deployment.stock("vase", 1_000)
    workers = [deployment.start("work", "--all") for _ in range(2)]
    for round_ in range(4):
        deployment.buy("lamp", 50)
        kill(workers[round_ % 2])
        deployment.buy("vase", 25)
        workers[round_ % 2] = deployment.start("work", "--all")
    receipt = deployment.all_is_well({"lamp": 170, "vase": 1_000})
    assert (receipt.accepted, receipt.confirmed, receipt.failed) == (300, 270, 30)


def test_an_api_that_is_killed_in_the_middle_keeps_its_word(deployment: Deployment) -> None:
    """All is killed while purchases come in, and started again on what is there."""
    units = 0
    for round_ in range(3):
        api = deployment.serve("up")
        worker = child_of(api)
        deployment.stock("lamp", 40)
        units += 40
        deployment.buy("lamp", 30 + round_)
        kill(api)
        deployment.buy("lamp", 1)
        assert deployment.accepted
        ended(worker)
    deployment.serve("up")
    receipt = deployment.all_is_well({"lamp": units})
    assert receipt.accepted == len(deployment.accepted) == 93
    assert receipt.failed == 0


def child_of(api: Process) -> int:
    """The worker that ``up`` starts beside the API."""
    deadline = time.monotonic() + PATIENCE_S
    while not (children := api.children()):
        assert time.monotonic() < deadline, "no worker was started"
        time.sleep(0.02)
    return children[0]


def ended(pid: int) -> None:
    """A worker ends by itself when its parent is gone; who adopted it may let it lie a while."""
    status = Path(f"/proc/{pid}/status")
    deadline = time.monotonic() + PATIENCE_S
    while status.exists() and "State:\tZ" not in status.read_text():
        assert time.monotonic() < deadline, f"worker {pid} lives on"
        time.sleep(0.02)


def test_a_worker_that_is_asked_to_stop_drains_in_time(deployment: Deployment) -> None:
    deployment.serve()
    deployment.stock("lamp", 1_000)
    deployment.buy("lamp", 100)
    worker = deployment.start("work", "--all")
    deployment.outcomes()
    deployment.buy("lamp", 50)
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.ends(STOP_S) == 0
    assert time.monotonic() - began < STOP_S
    assert "Traceback" not in worker.said()
    deployment.start("work", "--all")
    assert deployment.all_is_well({"lamp": 1_000}).confirmed == 150


def test_two_instances_of_one_service_share_its_work(deployment: Deployment) -> None:
    """And when one of them is killed, the other takes over its share."""
    deployment.serve()
    products = [f"p{number}" for number in range(8)]
    for product_id in products:
        deployment.stock(product_id, 100)
    deployment.start(
        "work", "purchase_task", "process_order", "order_failure", "order_creation", "readmodels"
    )
    first = deployment.start("work", "stock_check")
    deployment.start("work", "stock_check")
    for product_id in products:
        deployment.buy(product_id, 10)
    deployment.outcomes()
    kill(first)
    for product_id in products:
        deployment.buy(product_id, 10)
    assert deployment.all_is_well({}).confirmed == 160


def test_a_worker_that_was_paused_comes_too_late_and_does_no_harm(
    deployment: Deployment,
) -> None:
    deployment.serve()
    deployment.stock("lamp", 100)
    slow = deployment.start("work", "--all")
    deployment.buy("lamp", 20)
    deployment.outcomes()
    slow.signal(signal.SIGSTOP)
    try:
        deployment.start("work", "--all")
        deployment.buy("lamp", 20)
        deployment.outcomes()
    finally:
        slow.signal(signal.SIGCONT)
    deployment.buy("lamp", 20)
    assert deployment.all_is_well({"lamp": 100}).confirmed == 60
