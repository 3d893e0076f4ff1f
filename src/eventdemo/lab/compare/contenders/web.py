"""The contract's HTTP in Starlette, for contenders that differ only in what is behind it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec
import uuid_utils
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eventdemo.lab.compare.contenders.payment import PaymentFailed, pay
from eventdemo.lab.compare.contenders.shapes import (
    Decision,
    NewProduct,
    PlacedOrder,
    StockedProduct,
    decision_json,
    problem_json,
    read_details,
    read_purchase,
    read_restock,
)

#: The pool of a contender that has one; its modes set it.
CONNECTIONS = int(os.environ.get("COMPARE_CONNECTIONS", "10"))

_JSON = "application/json"
_PROBLEM = "application/problem+json"


class Shop(Protocol):
    """The part of a contender that is behind HTTP."""

    #: Whether ``buy`` pays by itself; otherwise a purchase is paid for before it.
    pays: bool

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision: ...

    async def decision(self, request_id: str) -> Decision | None: ...

    async def order(self, order_id: str) -> PlacedOrder | None: ...

    async def product(self, product_id: str) -> StockedProduct | None: ...

    async def put_product(self, product_id: str, details: NewProduct) -> None: ...

    async def restock(self, product_id: str, quantity: int) -> bool: ...


class WebShop:
    """The contract's calls, each answered by the shop."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def buy(self, request: Request) -> Response:
        try:
            purchase = read_purchase(await request.body())
        except msgspec.MsgspecError as error:
            return _bad_input(error)
        request_id = str(uuid_utils.uuid7())
        try:
            if not self._shop.pays:
                await pay(request_id)
            decision = await self._shop.buy(request_id, purchase.product_id, purchase.quantity)
        except PaymentFailed as error:
            return _problem(503, str(error))
        status = 202 if decision.outcome == "pending" else 200
        return Response(decision_json(decision), status, media_type=_JSON)

    async def purchase(self, request: Request) -> Response:
        decision = await self._shop.decision(request.path_params["id"])
        if decision is None:
            return _problem(404, "No such purchase was accepted.")
        return Response(decision_json(decision), media_type=_JSON)

    async def order(self, request: Request) -> Response:
        return _found(await self._shop.order(request.path_params["id"]))

    async def product(self, request: Request) -> Response:
        return _found(await self._shop.product(request.path_params["id"]))

    async def put_product(self, request: Request) -> Response:
        try:
            details = read_details(await request.body())
        except msgspec.MsgspecError as error:
            return _bad_input(error)
        await self._shop.put_product(request.path_params["id"], details)
        return _found(await self._shop.product(request.path_params["id"]))

    async def restock(self, request: Request) -> Response:
        try:
            delivery = read_restock(await request.body())
        except msgspec.MsgspecError as error:
            return _bad_input(error)
        if not await self._shop.restock(request.path_params["id"], delivery.quantity):
            return _found(None)
        return _found(await self._shop.product(request.path_params["id"]))

    async def ready(self, _: Request) -> Response:
        return Response(b'{"status":"ready"}', media_type=_JSON)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await self._shop.open()
        try:
            yield
        finally:
            await self._shop.close()


def application(shop: Shop) -> Starlette:
    """The ASGI application of a shop."""
    web = WebShop(shop)
    routes = [
        Route("/purchases", web.buy, methods=["POST"]),
        Route("/purchases/{id}", web.purchase),
        Route("/orders/{id}", web.order),
        Route("/products/{id}", web.product, methods=["GET"]),
        Route("/products/{id}", web.put_product, methods=["PUT"]),
        Route("/products/{id}/stock", web.restock, methods=["POST"]),
        Route("/health/ready", web.ready),
    ]
    return Starlette(routes=routes, lifespan=web.lifespan)


def _found(view: PlacedOrder | StockedProduct | None) -> Response:
    if view is None:
        return _problem(404, "There is no such thing.")
    return Response(msgspec.json.encode(view), media_type=_JSON)


def _bad_input(error: msgspec.MsgspecError) -> Response:
    return _problem(422 if isinstance(error, msgspec.ValidationError) else 400, str(error))


def _problem(status: int, detail: str) -> Response:
    return Response(problem_json(status, detail), status, media_type=_PROBLEM)
