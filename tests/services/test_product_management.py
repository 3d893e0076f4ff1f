"""The operator's commands: what they record, and when they record nothing."""

from functools import partial

from eventdemo.aggregates import Product
from eventdemo.facts import ProductChanged, ProductRegistered, StockReceived
from eventdemo.services.product_management import (
    MAX_RECEIVED_UNITS,
    ProductDetails,
    Restock,
    put,
    restock,
)
from tests.services.scenario import given

LAMP = ProductRegistered("lamp", "Lamp", 1_299)
put_lamp = partial(put, "lamp")
restock_lamp = partial(restock, "lamp")


def test_a_product_is_registered_once() -> None:
    given().commanded(partial(put_lamp, ProductDetails("Lamp", 1_299)), Product()).then(LAMP)


def test_another_price_changes_it() -> None:
    given(LAMP).commanded(partial(put_lamp, ProductDetails("Lamp", 999)), Product()).then(
        ProductChanged("lamp", "Lamp", 999)
    )


def test_another_name_changes_it() -> None:
    given(LAMP).commanded(partial(put_lamp, ProductDetails("Big lamp", 1_299)), Product()).then(
        ProductChanged("lamp", "Big lamp", 1_299)
    )


def test_saying_what_already_holds_records_nothing() -> None:
    given(LAMP).commanded(partial(put_lamp, ProductDetails("Lamp", 1_299)), Product()).then()


def test_changing_back_is_a_change() -> None:
    changed = ProductChanged("lamp", "Lamp", 999)
    given(LAMP, changed).commanded(
        partial(put_lamp, ProductDetails("Lamp", 1_299)), Product()
    ).then(ProductChanged("lamp", "Lamp", 1_299))


def test_units_arrive_on_the_shelf() -> None:
    given(LAMP).commanded(partial(restock_lamp, Restock(5)), Product()).then(
        StockReceived("lamp", 5)
    )


def test_a_product_that_nobody_registered_takes_no_units() -> None:
    given().commanded(partial(restock_lamp, Restock(5)), Product()).then()


def test_a_shelf_takes_as_many_units_as_can_be_counted() -> None:
    full = Product(registered=True, received=MAX_RECEIVED_UNITS - 5)
    given().commanded(partial(restock_lamp, Restock(5)), full).then(StockReceived("lamp", 5))
    given().commanded(partial(restock_lamp, Restock(6)), full).then()
