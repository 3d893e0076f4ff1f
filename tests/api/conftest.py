"""A server on a real socket, with the services and the projector beside it, in a temporary folder.

It runs in a thread of its own, so that tests are plain blocking HTTP clients.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from eventdemo.api.app import serve
from eventdemo.flow import SERVICES
from eventdemo.ports import Engine
from eventdemo.readmodels.projector import Projector
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime.wiring import open_engine
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings


class Running:
    """A deployment in one process: its address, its engine, and the loop that it lives in."""

    def __init__(
        self,
        settings: Settings,
        *,
        services: tuple[str, ...] = SERVICES,
        projector: bool = True,
        prepare: Callable[[Engine], None] = lambda engine: None,
    ) -> None:
        self.settings = settings
        self._prepare = prepare
        self._services = services
        self._projector = projector
        self.engine: Engine
        self.read_models: ReadModels
        self._port: Future[int] = Future()
        self.loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._port.result(60)
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def call(self, work: Callable[["Running"], Any]) -> Any:
        """Runs a coroutine in the server's loop: ``call(lambda s: s.engine.pool.head())``."""

        async def inside() -> Any:
            return await work(self)

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(60)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._port.done():
                self._port.set_exception(error)
            raise

    async def _serve(self) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.engine = await open_engine(self.settings)
        self._prepare(self.engine)
        self.read_models = ReadModels(self.settings.read_models)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(run_services(self.engine, self._services, self._stop))
                if self._projector:
                    projector = Projector(self.engine.pool, self.settings.read_models)
                    group.create_task(projector.run(self._stop))
                await serve(
                    self.settings,
                    self.engine,
                    self.read_models,
                    self._stop,
                    listening=self._port.set_result,
                )
        finally:
            await self.read_models.close()
            await self.engine.close()


Start = Callable[..., Running]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts deployments that end with the module."""
    with contextlib.ExitStack() as stack:

        def start(
            *,
            data: Path | None = None,
            services: tuple[str, ...] = SERVICES,
            projector: bool = True,
            prepare: Callable[[Engine], None] = lambda engine: None,
            **settings: Any,
        ) -> Running:
            data = data or tmp_path_factory.mktemp("data")
            running = Running(
                Settings(port=0, data=data, **settings),
                services=services,
                projector=projector,
                prepare=prepare,
            )
            return stack.enter_context(running)

        yield start


@pytest.fixture(scope="module")
def running(start: Start) -> Running:
    return start()


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def stocked(client: httpx.Client) -> str:
    """A product with plenty of stock."""
    client.put("/products/lamp", json={"name": "Lamp", "price_cents": 1299}).raise_for_status()
    client.post("/products/lamp/stock", json={"quantity": 100_000}).raise_for_status()
    return "lamp"


def assert_problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The details of an answer that has to be a problem of one kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    details: dict[str, Any] = answer.json()
    assert details["type"] == f"/problems/{slug}"
    assert details["status"] == status
    assert details["title"]
    assert details["detail"]
    return details
