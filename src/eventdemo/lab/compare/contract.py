"""The check of a contender before it is measured: it has to do the whole job, and do it right."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Self

from msgspec import Struct

from eventdemo.errors import EventdemoError
from eventdemo.lab.compare.system import RunningContender
from eventdemo.lab.load.client import LoadClient

DECIDED_WITHIN_S = 20.0
LOOK_EVERY_S = 0.02
CONCURRENT_BUYERS = 40
UNITS = 25


class ContractBroken(EventdemoError):
    """A contender does not do what all have to do, so that its speed would say nothing."""


class Answer(Struct, frozen=True):
    """A status and the JSON that came with it."""

    status: int
    body: dict[str, Any]


class ContractCheck:
    """One check of one contender: its own products, named so that they meet no others."""

    def __init__(self, name: str, port: int) -> None:
        self._name = name
        self._client = LoadClient("127.0.0.1", port, CONCURRENT_BUYERS)
        self._run = secrets.token_hex(3)

    async def __aenter__(self) -> Self:
        try:
            await self._client.open()
        except OSError as error:
            await self._client.close()
            raise ContractBroken(f"{self._name} does not answer: {error}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def run(self) -> None:
        """Raises ``ContractBroken`` with the first promise that was not kept."""
        for promise in PROMISES:
            await promise(self)

    async def call(self, method: str, path: str, body: object = None) -> Answer:
        encoded = b"" if body is None else json.dumps(body).encode()
        status, answer = await self._client.call(self._client.encode(method, path, encoded))
        try:
            decoded = json.loads(answer)
        except ValueError:
            decoded = None
        if not isinstance(decoded, dict):
            decoded = {"text": answer.decode(errors="replace")}
        return Answer(status, decoded)

    async def call_raw(self, method: str, path: str, body: bytes) -> int:
        status, _ = await self._client.call(self._client.encode(method, path, body))
        return status

    async def stocked(self, name: str, units: int) -> str:
        """Registers a product of this check with so many units and returns its id."""
        product_id = f"check-{self._run}-{name}"
        put = await self.call("PUT", f"/products/{product_id}", {"name": name, "price_cents": 250})
        self.expect(put.status in (200, 201), "PUT /products/{id}", put)
        if units:
            path = f"/products/{product_id}/stock"
            stock = await self.call("POST", path, {"quantity": units})
            self.expect(stock.status == 200, "POST /products/{id}/stock", stock)
        return product_id

    async def buy(self, product_id: str, quantity: int = 1) -> dict[str, Any]:
        """Buys and returns the outcome, which is waited for if it comes later."""
        body = {"product_id": product_id, "quantity": quantity}
        bought = await self.call("POST", "/purchases", body)
        self.expect(
            bought.status in (200, 202) and "request_id" in bought.body, "POST /purchases", bought
        )
        decided = bought.status == 200
        self.expect(decided == (bought.body.get("status") != "pending"), "its status", bought)
        return bought.body if decided else await self._decided(bought.body["request_id"])

    async def reads(self, path: str, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Waits until a read model, where there is one, says what it has to say."""
        answer = await self.call("GET", path)
        for _ in range(round(DECIDED_WITHIN_S / LOOK_EVERY_S)):
            if answer.status == 200 and holds(answer.body):
                return
            await asyncio.sleep(LOOK_EVERY_S)
            answer = await self.call("GET", path)
        self.expect(False, f"GET {path}", answer)

    async def _decided(self, request_id: str) -> dict[str, Any]:
        for _ in range(round(DECIDED_WITHIN_S / LOOK_EVERY_S)):
            answer = await self.call("GET", f"/purchases/{request_id}")
            self.expect(answer.status == 200, "an accepted purchase is known", answer)
            if answer.body["status"] != "pending":
                return answer.body
            await asyncio.sleep(LOOK_EVERY_S)
        raise ContractBroken(f"{self._name}: {request_id} is not decided in {DECIDED_WITHIN_S} s")

    def expect(self, holds: bool, promise: str, answer: object) -> None:
        if not holds:
            raise ContractBroken(f"{self._name}: {promise}: {answer}")


async def says_that_it_is_ready(check: ContractCheck) -> None:
    answer = await check.call("GET", "/health/ready")
    check.expect(answer.status == 200, "GET /health/ready", answer)


async def sells_and_makes_an_order(check: ContractCheck) -> None:
    product_id = await check.stocked("one", 5)
    bought = await check.buy(product_id, 2)
    check.expect(bought["status"] == "confirmed", "what is there is sold", bought)
    order = {"product_id": product_id, "quantity": 2, "request_id": bought["request_id"]}
    await check.reads(f"/orders/{bought['order_id']}", lambda body: order.items() <= body.items())
    stock = {"received": 5, "reserved": 2, "available": 3}
    await check.reads(f"/products/{product_id}", lambda body: stock.items() <= body.items())


async def refuses_what_is_sold_out(check: ContractCheck) -> None:
    product_id = await check.stocked("few", 3)
    too_many = await check.buy(product_id, 4)
    _expect_failure(check, too_many, "out_of_stock")
    check.expect((await check.buy(product_id, 3))["status"] == "confirmed", "the rest is sold", 3)
    _expect_failure(check, await check.buy(product_id), "out_of_stock")
    _expect_failure(check, await check.buy(await check.stocked("none", 0)), "out_of_stock")


async def refuses_an_unknown_product(check: ContractCheck) -> None:
    _expect_failure(check, await check.buy("check-no-such-product"), "unknown_product")
    answer = await check.call("GET", "/products/check-no-such-product")
    check.expect(answer.status == 404, "GET of an unknown product", answer)


async def sells_each_unit_once(check: ContractCheck) -> None:
    product_id = await check.stocked("hot", UNITS)
    outcomes = await asyncio.gather(*(check.buy(product_id) for _ in range(CONCURRENT_BUYERS)))
    confirmed = [outcome for outcome in outcomes if outcome["status"] == "confirmed"]
    check.expect(len(confirmed) == UNITS, f"{UNITS} units are sold", len(confirmed))
    orders = {outcome["order_id"] for outcome in confirmed}
    check.expect(len(orders) == UNITS, "each purchase has its own order", sorted(orders))
    stock = {"received": UNITS, "reserved": UNITS, "available": 0}
    await check.reads(f"/products/{product_id}", lambda body: stock.items() <= body.items())


async def tells_the_same_outcome_again(check: ContractCheck) -> None:
    product_id = await check.stocked("twice", 1)
    for outcome in (await check.buy(product_id), await check.buy(product_id)):
        for _ in range(3):
            again = await check.call("GET", f"/purchases/{outcome['request_id']}")
            same = again.status == 200 and all(
                again.body.get(name) == outcome.get(name)
                for name in ("request_id", "status", "order_id")
            )
            check.expect(same, f"{outcome} does not change", again)


async def knows_no_other_purchases(check: ContractCheck) -> None:
    for path in ("/purchases/01890000-0000-7000-8000-000000000000", "/orders/NO-SUCH-ORDER"):
        answer = await check.call("GET", path)
        check.expect(answer.status == 404, f"GET {path}", answer)


async def refuses_bad_input(check: ContractCheck) -> None:
    product_id = await check.stocked("whole", 5)
    malformed = await check.call_raw("POST", "/purchases", b'{"product_id":')
    check.expect(malformed in (400, 422), "malformed JSON", malformed)
    bodies: tuple[object, ...] = (
        {"product_id": product_id, "quantity": 0},
        {"product_id": product_id, "quantity": -1},
        {"product_id": product_id, "quantity": "1"},
        {"product_id": product_id, "quantity": 1.5},
        {"product_id": 7, "quantity": 1},
        {"quantity": 1},
        [],
    )
    for body in bodies:
        answer = await check.call("POST", "/purchases", body)
        check.expect(answer.status in (400, 422), f"the bad input {body}", answer)
    await check.reads(f"/products/{product_id}", lambda stock: stock["available"] == 5)


PROMISES: tuple[Callable[[ContractCheck], Awaitable[None]], ...] = (
    says_that_it_is_ready,
    sells_and_makes_an_order,
    refuses_what_is_sold_out,
    refuses_an_unknown_product,
    sells_each_unit_once,
    tells_the_same_outcome_again,
    knows_no_other_purchases,
    refuses_bad_input,
)


async def check_contract(system: RunningContender) -> None:
    """Checks a running contender. Raises ``ContractBroken``."""
    async with ContractCheck(system.contender.name, system.site.port) as check:
        await check.run()


def _expect_failure(check: ContractCheck, outcome: dict[str, Any], code: str) -> None:
    failed = outcome["status"] == "failed" and outcome.get("failure", {}).get("code") == code
    check.expect(failed, f"a failure with {code}", outcome)
