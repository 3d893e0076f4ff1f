# mypy: ignore-errors
"""Makes the stored data in this folder, with the code of commit 447525c and no other.

    git clone . /tmp/before && git -C /tmp/before checkout 447525c
    cp tests/upgrade/make_data.py /tmp/before
    PYTHONPATH=/tmp/before/src python /tmp/before/make_data.py tests/upgrade/data

It needs the packages of that commit (``requirements.txt``). It writes ``folder.tar.xz``, a data
folder, and ``expected.json``: what that version says of it.

Time is its own: it begins at ``BEGAN_NS`` and is a millisecond later whenever it is looked at, so
that the data is older than any day on which it is opened.
"""

import asyncio
import itertools
import json
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from types import ModuleType

BEGAN_NS = 1_750_000_000_000_000_000
_clock = itertools.count(BEGAN_NS, 1_000_000)
time.time_ns = lambda: next(_clock)

import apsw
import msgspec
from eventdemo.api.door import _digest
from eventdemo.runtime.baselines import Baselines
from eventdemo.runtime.products import put_product, restock_product
from eventdemo.runtime.purchases import task_of

from eventdemo.aggregates import Product
from eventdemo.facts import product_stream
from eventdemo.flow import FLOW, SERVICES
from eventdemo.ids import new_request_id, now_us
from eventdemo.ports import DeadLetterFilter, IdempotencyKey
from eventdemo.readmodels.rebuild import rebuild
from eventdemo.runtime.handler import Handler
from eventdemo.runtime.retries import RetryPolicy
from eventdemo.runtime.wiring import open_embedded
from eventdemo.services.buy_request import BuyRequest
from eventdemo.services.product_management import ProductDetails, Restock

FLOW_FILE = "eventdemo.db"
FILES = (FLOW_FILE, "eventdemo.queue.db", "readmodels/000001.db")

#: A price in the first shape of the event.
CANDLE = '{"type":"ProductRegistered","product_id":"candle","name":"Candle","price":"3.50"}'

#: Units that are received, by product: more than a thousand events for the lamp.
DELIVERIES = {"lamp": [3] * 1_050, "candle": [40], "chair": [30, 9], "pair": [2], "sold-out": [2]}


class Maker:
    """A data folder while it is filled."""

    def __init__(self, engine):
        self.engine = engine
        self.requests = []
        self.keys = {}
        self._baselines = Baselines()

    async def stock(self):
        for product_id, deliveries in DELIVERIES.items():
            if product_id != "candle":
                name = product_id.title()
                await put_product(self.engine.pool, product_id, ProductDetails(name, 1_299))
            for quantity in deliveries:
                await restock_product(self.engine.pool, product_id, Restock(quantity))
        await put_product(self.engine.pool, "chair", ProductDetails("Armchair", 9_900))

    async def buy(self, product_id, quantity=1, key=None):
        at_us = now_us()
        request = BuyRequest(product_id, quantity)
        named = key and IdempotencyKey(key, _digest(request))
        task = task_of(request, new_request_id(at_us), at_us)
        accepted = await self.engine.queue.enqueue(task, named)
        self.requests.append(accepted.request_id)
        if key:
            asked = {"product_id": product_id, "quantity": quantity}
            self.keys[key] = {"request_id": accepted.request_id, "body": asked}
        return accepted.request_id

    async def buy_some(self, *product_ids, key):
        return [await self.buy(name, key=f"{key}-{n}") for n, name in enumerate(product_ids)]

    async def step(self, service, *failing, last_attempt=False):
        """Handles all that waits for a service; what is for ``failing`` products raises."""
        policy = RetryPolicy(max_attempts=1 if last_attempt else 5, jitter=lambda: 0.5)
        row = next(row for row in FLOW if row.service == service)
        handler = Handler(
            _poisoned(row, failing) if failing else row, self.engine, self._baselines, policy
        )
        while received := await self.engine.topics.receive(service, 1_000):
            await handler.handle(received)

    async def run_dry(self):
        for _ in range(2):
            for service in SERVICES:
                await self.step(service)


def _poisoned(row, product_ids):
    healthy, module = row.decide, ModuleType(f"poisoned.{row.service}")

    def decide(message, *states):
        if message.product_id in product_ids:
            raise RuntimeError(f"{message.product_id} is bad")
        return healthy(message, *states)

    module.decide = decide
    return msgspec.structs.replace(row, module=module)


def execute(path, statement, bindings):
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5_000)
    connection.execute(statement, bindings)
    changes = connection.changes()
    connection.close()
    assert changes == 1, statement


async def fill(folder):
    engine = await open_embedded(folder / FLOW_FILE)
    await engine.open_topics()
    insert = (
        "INSERT INTO event (stream, version, causation_id, ordinal, correlation_id, at_us, body) "
        "VALUES ('product-candle', 1, 'command-1', 0, 'command-1', ?, ?)"
    )
    execute(folder / FLOW_FILE, insert, (now_us(), CANDLE))
    maker = Maker(engine)
    await maker.stock()

    # Decided: confirmed and refused ones, with keys.
    for number in range(30):
        await maker.buy(("lamp", "candle", "chair")[number % 3], key=f"decided-{number}")
    for _ in range(4):
        await maker.buy("sold-out")
    await maker.buy("never-registered", key="unknown")
    await maker.run_dry()

    await rebuild(engine.pool, folder / "readmodels", lambda *_: None)  # behind what follows
    await _set_some_aside(maker, folder)
    await _leave_some_at_each_hop(maker, folder)
    expected = await _look(maker)
    await engine.close()
    expected["retries"] = _rows(
        folder / FLOW_FILE, "SELECT id, service, attempt, redriven_from FROM retry ORDER BY id"
    )
    expected["snapshots"] = _rows(folder / FLOW_FILE, "SELECT stream, version FROM snapshot")
    return expected


async def _set_some_aside(maker, folder):
    """Dead letters: as they were given up, redriven and handled, discarded, undecodable."""
    topics = maker.engine.topics
    await maker.buy_some("lamp", "chair", key="dead-before-its-outcome")
    await maker.step("purchase_task")
    await maker.step("stock_check", "lamp", last_attempt=True)
    await maker.run_dry()
    (request_id,) = await maker.buy_some("candle", key="undecodable-and-dead")
    await maker.step("purchase_task")
    _spoil(folder / FLOW_FILE, "stock-check-needed", request_id)
    await maker.run_dry()
    await maker.buy_some("lamp", "lamp", "lamp", "lamp", key="dead-after-its-outcome")
    for service in ("purchase_task", "stock_check", "process_order"):
        await maker.step(service)
    await maker.step("order_creation", "lamp", last_attempt=True)
    redriven, discarded, _, _ = await topics.dead_letters(DeadLetterFilter("order_creation"))
    await topics.redrive(redriven.id)
    await maker.run_dry()
    await topics.discard(discarded.id)


async def _leave_some_at_each_hop(maker, folder):
    """From the end of the flow to its beginning, since what waits at a hop is handled at once;
    at each hop some that wait for the first time, and some that failed once."""
    await maker.buy_some("candle", "sold-out", "lamp", key="failed-once-at-the-end")
    for service in ("purchase_task", "stock_check", "process_order"):
        await maker.step(service)
    await maker.step("order_creation", "candle")
    await maker.step("order_failure", "sold-out")
    *_, last = await maker.engine.topics.dead_letters(DeadLetterFilter("order_creation"))
    await maker.engine.topics.redrive(last.id)

    pairs = ("pair", "pair", "pair")
    await maker.buy_some("lamp", "chair", "sold-out", "candle", *pairs, key="approved-or-refused")
    await maker.step("purchase_task")
    await maker.step("stock_check")
    await maker.step("process_order", "candle")

    *_, spoiled = await maker.buy_some("lamp", "candle", "chair", "chair", key="stock-checked")
    await maker.step("purchase_task")
    await maker.step("stock_check", "candle")
    _spoil(folder / FLOW_FILE, "stock-available", spoiled)

    await maker.buy_some("lamp", "candle", "chair", "sold-out", key="to-be-checked")
    await maker.step("purchase_task", "chair")
    await maker.buy_some("lamp", "candle", "chair", "never-registered", "sold-out", key="accepted")
    await maker.buy("lamp", 3)


def _spoil(path, topic, request_id):
    """Makes a stored message one that cannot be read."""
    batches = _rows(path, "SELECT id, topic, CAST(body AS TEXT) FROM record_batch")
    ((batch_id, text),) = [
        (batch_id, text) for batch_id, of, text in batches if of == topic and request_id in text
    ]
    messages = json.loads(text)
    (message,) = [message for message in messages if message[1] == request_id]
    message[4]["quantity"] = "one"
    statement = "UPDATE record_batch SET body = ? WHERE id = ?"
    execute(path, statement, (json.dumps(messages, separators=(",", ":")), batch_id))


def _rows(path, statement):
    connection = apsw.Connection(str(path))
    rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


async def _look(maker):
    """What this version says of all that is stored."""
    engine = maker.engine
    streams = {product_stream(product_id): Product for product_id in DELIVERIES}
    states, _ = await Baselines().load(engine.pool, streams)
    letters = [
        letter
        for state in ("dead", "redriven", "discarded")
        for letter in await engine.topics.dead_letters(DeadLetterFilter(state=state))
    ]
    paths = {name: await engine.topics.path_of(name) for name in maker.requests}
    cached = [outcome async for page in engine.cache.entries() for outcome in page]
    return msgspec.to_builtins(
        {
            "keys": maker.keys,
            "requests": maker.requests,
            "accepted": await engine.queue.accepted(),
            "head": await engine.pool.head(),
            "products": states,
            "outcomes": cached,
            "counts": await engine.topics.counts(),
            "dead_letters": [msgspec.structs.replace(letter, stack="") for letter in letters],
            "paths": {name: [message.id for message in path] for name, path in paths.items()},
        }
    )


def _nameless(member):
    """The member of an archive without who made it, and when."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = BEGAN_NS // 1_000_000_000
    return member


def main():
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder, whole = Path(name), Path(name) / "whole"
        expected = asyncio.run(fill(folder))
        with tarfile.open(target / "folder.tar.xz", "w:xz", preset=9) as archive:
            for file in FILES:
                connection = apsw.Connection(str(folder / file))
                connection.execute("VACUUM INTO ?", (str(whole),))
                connection.close()
                archive.add(whole, file, filter=_nameless)
                whole.unlink()
            archive.add(folder / "readmodels" / "current", "readmodels/current", filter=_nameless)
    text = json.dumps(expected, indent=1) + "\n"
    (target / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
