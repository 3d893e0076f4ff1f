"""Counts how often execution moves from one file of the source to another.

A move is a call of a function in another file than the call before it, in the same thread. Calls
of generators count as well; returns, resumed coroutines and comprehensions (which later versions
of Python do not call) do not, and what libraries do is not seen. The thread of the event loop and
those of the database are followed.

- A hop is ``Handler.handle`` of ``process_order`` for one message, its caches warm, on the
  embedded engine in memory.
- A purchase is all that happens from ``POST /purchases`` over a socket until the services rest,
  and the ``GET`` that reads the outcome, on one connection.

Run with the ``src`` folder of any version on ``PYTHONPATH``: ``python moves.py`` prints JSON, and
with ``--hop`` the way of a hop, a move per line.
"""

import asyncio
import inspect
import json
import logging
import opcode
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import structlog

import eventdemo

SOURCE = str(Path(eventdemo.__file__).parent)

COMPREHENSIONS = {"<listcomp>", "<dictcomp>", "<setcomp>"}

#: Before and while it is counted, so that caches are warm and one disturbance does not show.
WARM_UP, COUNTED = 5, 7

#: Until idle services have noted that nothing waits.
REST_S = 0.3


def first_of(*places: str) -> Any:
    """The first of these names that this version has: ``module:name``."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise LookupError(f"none of {places}")


class Follower:
    """Notes the files of the calls of all threads while it is switched on."""

    def __init__(self) -> None:
        self.on = False
        self.calls: list[tuple[int, CodeType]] = []

    def follow(self) -> None:
        """Follows this thread and those that are started after it."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        ours = code.co_filename.startswith(SOURCE) and code.co_name not in COMPREHENSIONS
        if self.on and event == "call" and ours:
            resumed = opcode.opname[code.co_code[frame.f_lasti]] == "RESUME" and (
                code.co_code[frame.f_lasti + 1] & 3
            )
            if not resumed and opcode.opname[code.co_code[frame.f_lasti]] != "YIELD_VALUE":
                self.calls.append((threading.get_ident(), code))

    def start(self) -> None:
        self.calls.clear()
        self.on = True

    def stop(self) -> tuple[int, int]:
        """The moves and the files since the start."""
        self.on = False
        return len(self.way()) - len({thread for thread, _ in self.calls}), len(
            {code.co_filename for _, code in self.calls}
        )

    def way(self) -> list[str]:
        """The functions in which the threads began or moved to another file."""
        last: dict[int, str] = {}
        way = []
        for thread, code in self.calls:
            if last.get(thread) != code.co_filename:
                way.append(f"{code.co_filename.removeprefix(SOURCE)} {code.co_qualname}")
            last[thread] = code.co_filename
        return way


async def stocked_engine() -> Any:
    engine = await first_of("eventdemo.runtime.wiring:open_embedded")(None)
    places = ("eventdemo.runtime.commands", "eventdemo.runtime.products")
    details = first_of("eventdemo.services.product_management:ProductDetails")("Lamp", 100)
    units = first_of("eventdemo.services.product_management:Restock")(1_000)
    await first_of(*(f"{place}:put_product" for place in places))(engine.pool, "lamp", details)
    await first_of(*(f"{place}:restock_product" for place in places))(engine.pool, "lamp", units)
    return engine


async def buy(engine: Any) -> None:
    """Accepts a purchase of one lamp."""
    ids = import_module("eventdemo.ids")
    at_us = ids.now_us()
    with_slot = "slot" in inspect.signature(ids.new_request_id).parameters
    slot = (first_of("eventdemo.slots:slot_of")("lamp"),) if with_slot else ()
    request = first_of("eventdemo.services.buy_request:BuyRequest")("lamp", 1)
    task_of = first_of("eventdemo.runtime.commands:task_of", "eventdemo.runtime.purchases:task_of")
    await engine.queue.enqueue(task_of(request, ids.new_request_id(at_us, *slot), at_us))


async def hop(follower: Follower) -> tuple[int, int]:
    """The moves and the files of one message in the handler of ``process_order``."""
    handler = first_of("eventdemo.runtime.handler:Handler")
    run_services = first_of("eventdemo.runtime.worker:run_services")
    handle: Callable[[Any, Any], Any] = handler.handle
    results: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    async def followed(self: Any, received: Any) -> None:
        if received.service != "process_order":
            await handle(self, received)
            return
        follower.start()
        await handle(self, received)
        results.put_nowait(follower.stop())

    handler.handle = followed
    engine, stop = await stocked_engine(), asyncio.Event()
    services = [["purchase_task", "stock_check"], ["process_order"]]
    running = [asyncio.create_task(run_services(engine, part, stop)) for part in services]
    counts = []
    for _ in range(WARM_UP + COUNTED):
        await buy(engine)
        counts.append(await results.get())
    stop.set()
    await asyncio.gather(*running)
    await engine.close()
    handler.handle = handle
    return statistics.mode(counts[WARM_UP:])


async def purchase(follower: Follower) -> tuple[int, int]:
    """The moves and the files of one purchase over HTTP, and of reading its outcome."""
    run_services = first_of("eventdemo.runtime.worker:run_services")
    serve = first_of("eventdemo.api.app:serve", "eventdemo.api.server:serve")
    services = import_module("eventdemo.flow").SERVICES
    engine, stop = await stocked_engine(), asyncio.Event()
    with tempfile.TemporaryDirectory() as folder:
        settings = first_of("eventdemo.settings:Settings")(data=Path(folder), port=0)
        read_models = first_of(
            "eventdemo.readmodels.read_models:ReadModels", "eventdemo.readmodels.store:ReadModels"
        )(settings.read_models)
        listening = asyncio.get_running_loop().create_future()
        running = [
            asyncio.create_task(run_services(engine, services, stop)),
            asyncio.create_task(
                serve(settings, engine, read_models, stop, listening=listening.set_result)
            ),
        ]
        address = ("127.0.0.1", await listening)
        connection = await asyncio.to_thread(socket.create_connection, address)
        counts = []
        for _ in range(WARM_UP + COUNTED):
            await asyncio.sleep(REST_S)
            follower.start()
            body = b'{"product_id": "lamp", "quantity": 1}'
            accepted = await asyncio.to_thread(ask, connection, "POST /purchases", body)
            await asyncio.sleep(REST_S)
            path = f"GET /purchases/{accepted['request_id']}?wait=5"
            outcome = await asyncio.to_thread(ask, connection, path)
            counts.append(follower.stop())
            assert outcome["status"] == "confirmed", outcome
        connection.close()
        stop.set()
        await asyncio.gather(*running)
        await read_models.close()
        await engine.close()
    return statistics.median_low(counts[WARM_UP:])


def ask(connection: socket.socket, call: str, body: bytes = b"") -> Any:
    """Sends one request and returns the JSON that is answered."""
    head = f"{call} HTTP/1.1\r\nHost: 127.0.0.1:{connection.getpeername()[1]}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"\r\n" + body)
    answer = b""
    while True:
        answer += connection.recv(65_536)
        try:
            return json.loads(answer.partition(b"\r\n\r\n")[2])
        except ValueError:
            continue


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    follower = Follower()
    follower.follow()
    figures = {"hop": asyncio.run(hop(follower))}
    if "--hop" in sys.argv:
        sys.stdout.write("\n".join([*follower.way(), ""]))
        return
    figures["purchase"] = asyncio.run(purchase(follower))
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
