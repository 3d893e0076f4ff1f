"""The data that the last version left behind opens, is understood, and is worked off.

``make_data.py`` made it and says how. In it something waits at each hop, has failed once or was
given up; some purchases are decided. ``expected.json`` is what that version said of it.
"""

import asyncio
import base64
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from eventdemo.aggregates import Product
from eventdemo.audit import audit
from eventdemo.facts import ProductRegistered
from eventdemo.flow import SERVICES
from eventdemo.messages import DeadLetter, DeadLetterFilter, DeadLetterState, Outcome
from eventdemo.ports import Engine
from eventdemo.readmodels.projector import Projector
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.readmodels.rebuild import rebuild
from eventdemo.runtime.state import StateCache, StateLoader
from eventdemo.runtime.wiring import open_engine
from eventdemo.runtime.worker import run_services
from eventdemo.settings import Settings
from tests.api.conftest import Running
from tests.conformance.samples import readable

pytestmark = pytest.mark.anyio

DATA = Path(__file__).with_name("data")
EXPECTED: dict[str, Any] = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))

PATIENCE_S = 30.0

#: The data is older than any day on which it is read, and nothing of it is to be forgotten.
FOR_EVER_S = 10**9

#: What is known of these purchases is that they failed before they could be decided.
DEAD_BEFORE = "dead-before-its-outcome-0", "undecodable-and-dead-0", "stock-checked-3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder as the last version left it."""
    with tarfile.open(DATA / "folder.tar.xz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content, member
            path = tmp_path / member.name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content.read())
    return tmp_path


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[Engine]:
    engine = await open_engine(Settings(data=folder), must_exist=True)
    yield engine
    await engine.close()


def request_of(key: str) -> str:
    """The request id that a key was given."""
    request_id: str = EXPECTED["keys"][key]["request_id"]
    return request_id


def outcomes_before() -> dict[str, Outcome]:
    """The outcomes that the last version kept, by request id."""
    outcomes = msgspec.convert(EXPECTED["outcomes"], list[Outcome])
    return {outcome.request_id: outcome for outcome in outcomes}


async def work_off(engine: Engine, *request_ids: str) -> dict[str, Outcome]:
    """Runs the services until these purchases are decided and nothing is under way."""
    stop = asyncio.Event()
    services = asyncio.create_task(
        run_services(engine, SERVICES, stop, message_retention_s=FOR_EVER_S)
    )
    try:
        outcomes = [await engine.cache.wait(name, PATIENCE_S) for name in request_ids]
        async with asyncio.timeout(PATIENCE_S):
            while await under_way(engine):
                await engine.pool.wait(0.1)
    finally:
        stop.set()
        await services
    return {outcome.request_id: outcome for outcome in outcomes if outcome}


async def under_way(engine: Engine) -> int:
    counts = await engine.flow_status.counts()
    return sum(hop.waiting + hop.in_flight for hop in counts.values())


async def all_dead_letters(engine: Engine) -> list[DeadLetter]:
    return await engine.dead_letters.find(DeadLetterFilter(state=None))


async def test_events_of_all_shapes_add_up_to_the_same_products(engine: Engine) -> None:
    events = readable(await engine.pool.read_all(after_position=0, limit=10_000))
    assert [event.position for event in events] == list(range(1, EXPECTED["head"] + 1))
    assert await engine.pool.head() == EXPECTED["head"]
    registered = next(event for event in events if event.stream == "product-candle")
    assert (registered.schema_version, registered.data) == (
        1,
        ProductRegistered("candle", "Candle", 350),
    )
    for stream, expected in EXPECTED["products"].items():
        product = Product()
        for event in events:
            if event.stream == stream:
                product = product.evolve(event.data)
        assert product == msgspec.convert(expected, Product)


async def test_a_snapshot_of_an_earlier_shape_is_left_unread(engine: Engine) -> None:
    ((stream, version),) = EXPECTED["snapshots"]
    assert await engine.pool.snapshots([stream]) == []

    await StateLoader(engine.pool, StateCache()).load({stream: Product})

    (snapshot,) = await engine.pool.snapshots([stream])
    product = Product()
    for event in await engine.pool.read_stream(stream, limit=version):
        product = product.evolve(event.data)
    assert (snapshot.version, snapshot.state) == (version, product)


async def test_all_messages_are_where_they_were(engine: Engine) -> None:
    counts = await engine.flow_status.counts()
    assert msgspec.to_builtins(counts) == EXPECTED["counts"]
    assert all(hop.waiting and hop.in_flight for hop in counts.values())
    retries = [service for _, service, _, _ in EXPECTED["retries"]]
    assert {service: hop.in_flight for service, hop in counts.items()} == {
        service: retries.count(service) for service in SERVICES
    }
    assert set(await engine.flow_status.oldest_waiting_us()) == set(SERVICES)
    assert await engine.queue.accepted() == EXPECTED["accepted"]


async def test_dead_letters_are_kept_byte_for_byte(engine: Engine) -> None:
    expected = {letter["id"]: letter for letter in EXPECTED["dead_letters"]}
    letters = {letter.id: letter for letter in await all_dead_letters(engine)}
    assert letters.keys() == expected.keys()
    for number, letter in letters.items():
        assert letter.body == base64.b64decode(expected[number]["body"])
        assert letter == msgspec.structs.replace(
            msgspec.convert(expected[number], DeadLetter), stack=letter.stack
        )
    assert {letter.state for letter in letters.values()} == set(DeadLetterState)


async def test_paths_are_found_before_and_after_the_rest_of_the_way(engine: Engine) -> None:
    for request_id, path in EXPECTED["paths"].items():
        assert [message.id for message in await engine.message_log.path_of(request_id)] == path

    outcomes = await work_off(engine)

    assert outcomes == {}
    for request_id, path in EXPECTED["paths"].items():
        messages = await engine.message_log.path_of(request_id)
        numbers = [int(message.id.rpartition("/")[2]) for message in messages]
        assert numbers[0] == 1, request_id
        assert [message.id for message in messages][: len(path)] == path
        assert numbers[-1] in {4, 5}
        assert all(message.correlation_id == request_id for message in messages)
        # A refusal leaves out what comes between, and what cannot be read is not shown.
        assert numbers in ([1, 2, 3, 5], [1, 2, 3, 4], [1, 2, 4], [1, 4])
        assert (numbers == [1, 4]) == (request_id == request_of("undecodable-and-dead-0"))


async def test_every_purchase_ends_and_none_ends_otherwise_than_it_did(
    engine: Engine, folder: Path
) -> None:
    given_up = [letter for letter in await all_dead_letters(engine) if letter.state != "redriven"]
    pending = {x.correlation_id for x in given_up if x.service == "order_creation"}
    decided = [name for name in EXPECTED["requests"] if name not in pending]

    outcomes = await work_off(engine, *decided)

    assert outcomes.keys() == set(decided)
    assert {name: outcomes[name] for name in outcomes_before()} == outcomes_before()
    for key in DEAD_BEFORE:
        assert outcomes[request_of(key)].code == "internal_error"
    (undecodable,) = [
        letter
        for letter in await all_dead_letters(engine)
        if letter.correlation_id == request_of("stock-checked-3")
    ]
    assert undecodable.service == "process_order"

    # What only a redrive can complete.
    assert await engine.dead_letters.redrive(*(letter.id for letter in given_up)) == len(given_up)
    completed = await work_off(engine, *pending)
    assert all(outcome.order_id for outcome in completed.values())
    assert completed.keys() == pending
    for key in DEAD_BEFORE:
        outcome = await engine.cache.get(request_of(key))
        assert outcome is not None
        assert outcome.code == "internal_error"

    receipt = await audit(engine, None)
    assert receipt.broken == []
    assert (receipt.accepted, receipt.pending) == (EXPECTED["accepted"], 0)
    assert receipt.confirmed + receipt.failed == len(EXPECTED["requests"])
    assert receipt.products["pair"].reserved == 2
    assert receipt.products["sold-out"].reserved == 2
    await rebuild(engine.pool, folder / "readmodels", lambda *_: None)
    read_models = ReadModels(folder / "readmodels")
    receipt = await audit(engine, read_models)
    await read_models.close()
    assert receipt.broken == []
    assert receipt.read_models_position == receipt.position


async def test_read_models_of_an_earlier_shape_are_built_anew(engine: Engine, folder: Path) -> None:
    read_models, stop = ReadModels(folder / "readmodels"), asyncio.Event()
    assert await read_models.position() == 0
    projector = Projector(engine.pool, folder / "readmodels")
    projecting = asyncio.create_task(projector.run(stop))
    assert await read_models.reach(EXPECTED["head"], PATIENCE_S)
    stop.set()
    await projecting
    receipt = await audit(engine, read_models)
    await read_models.close()
    assert receipt.broken == []
    assert receipt.read_models_position == EXPECTED["head"]
    assert [path.name for path in (folder / "readmodels").glob("*.db")] == ["000001.db"]


def test_every_key_gives_its_request_id_and_takes_no_other_body(folder: Path) -> None:
    with Running(Settings(port=0, data=folder)) as running, running.client() as client:
        for key, accepted in EXPECTED["keys"].items():
            answer = buy(client, key, accepted["body"])
            assert answer.status_code in {200, 202}
            assert answer.headers["idempotent-replayed"] == "true"
            assert answer.json()["request_id"] == accepted["request_id"]
            other = {**accepted["body"], "quantity": 7}
            assert buy(client, key, other).status_code == 422
        status = client.get(f"/purchases/{request_of('decided-0')}").json()
        assert (status["status"], status["unit_price_cents"]) == ("confirmed", 1_299)
        assert client.get(f"/orders/{status['order_id']}").json()["product_id"] == "lamp"
        assert client.get(f"/purchases/{request_of('accepted-0')}?wait=20").json()["order_id"]
        lamp = client.get("/products/lamp", params={"at_version": 1_050}).json()
        assert (lamp["received"], lamp["reserved"]) == (3 * 1_049, 0)


def buy(client: httpx.Client, key: str, body: dict[str, Any]) -> httpx.Response:
    return client.post("/purchases", json=body, headers={"Idempotency-Key": key})
