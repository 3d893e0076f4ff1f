"""A contender in memory that has one flaw, which the checks have to find."""

import os
from itertools import count

from eventdemo.lab.compare.contenders.shapes import (
    Decision,
    NewProduct,
    PlacedOrder,
    StockedProduct,
)
from eventdemo.lab.compare.contenders.web import application

FLAW = os.environ["FLAW"]


class FlawedShop:
    pays = False

    def __init__(self) -> None:
        self._products: dict[str, StockedProduct] = {}
        self._orders: dict[str, PlacedOrder] = {}
        self._decisions: dict[str, Decision] = {}
        self._numbers = count(1)

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def buy(self, request_id: str, product_id: str, quantity: int) -> Decision:
        product = self._products.get(product_id)
        outcome = "confirmed"
        if product is None:
            outcome = "out_of_stock" if FLAW == "wrong code" else "unknown_product"
        elif product.available < quantity and FLAW != "oversells":
            outcome = "out_of_stock"
        else:
            self._orders[request_id] = PlacedOrder(request_id, request_id, product_id, quantity, 0)
            if FLAW != "stock stays":
                self._stock(product_id, product.received, product.reserved + quantity)
        self._decisions[request_id] = Decision(request_id, outcome)
        return self._decisions[request_id]

    async def decision(self, request_id: str) -> Decision | None:
        if FLAW == "changes its mind" and next(self._numbers) % 2:
            return Decision(request_id, "out_of_stock")
        return self._decisions.get(request_id)

    async def order(self, order_id: str) -> PlacedOrder | None:
        return self._orders.get(order_id)

    async def product(self, product_id: str) -> StockedProduct | None:
        return self._products.get(product_id)

    async def put_product(self, product_id: str, details: NewProduct) -> None:
        self._stock(product_id, 0, 0)

    async def restock(self, product_id: str, quantity: int) -> bool:
        self._stock(product_id, self._products[product_id].received + quantity, 0)
        return True

    def _stock(self, product_id: str, received: int, reserved: int) -> None:
        left = received - reserved
        product = StockedProduct(product_id, product_id, 0, received, reserved, left)
        self._products[product_id] = product


app = application(FlawedShop())
