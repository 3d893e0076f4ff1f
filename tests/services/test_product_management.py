"""The operator's commands: what they record, and when they record nothing."""

from functools import partial

from eventdemo.aggregates import Product
from eventdemo.facts import ProductChanged, ProductRegistered, ProductRetired, StockReceived
from eventdemo.services.product_management import (
    MAX_RECEIVED_UNITS,
    ProductDetails,
    Restock,
    put,
    restock,
    retire,
)
from tests.services.scenario import given

LAMP = ProductRegistered("lamp", "Lamp", 1_299)
put_lamp = partial(put, "lamp")
restock_lamp = partial(restock, "lamp")
retire_lamp = partial(retire, "lamp")
RETIRED = ProductRetired("lamp")


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


def test_a_product_keeps_its_price_unless_another_is_named() -> None:
    given(LAMP).commanded(partial(put_lamp, ProductDetails("Big lamp")), Product()).then(
        ProductChanged("lamp", "Big lamp", 1_299)
    )


def test_a_new_product_needs_a_price() -> None:
    given().commanded(partial(put_lamp, ProductDetails("Lamp")), Product()).then()


def test_a_product_is_retired_once() -> None:
    given(LAMP).commanded(retire_lamp, Product()).then(RETIRED)
    given(LAMP, RETIRED).commanded(retire_lamp, Product()).then()
    given().commanded(retire_lamp, Product()).then()


def test_a_retired_product_is_put_on_sale_again_with_its_price_and_units() -> None:
    given(LAMP, RETIRED).commanded(partial(put_lamp, ProductDetails("Lamp")), Product()).then(LAMP)
    back = given(LAMP, StockReceived("lamp", 5), RETIRED, LAMP)
    back.commanded(partial(restock_lamp, Restock(1)), Product()).then(StockReceived("lamp", 1))


def test_a_retired_product_takes_no_units() -> None:
    given(LAMP, RETIRED).commanded(partial(restock_lamp, Restock(5)), Product()).then()
