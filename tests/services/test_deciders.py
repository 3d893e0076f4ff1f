"""What each service says to what it hears, on every state that matters."""

import pytest

from eventdemo.aggregates import Product, Purchase
from eventdemo.facts import (
    FailureCode,
    OrderCreated,
    ProductChanged,
    ProductRegistered,
    ProductRetired,
    PurchaseApproved,
    PurchaseFailed,
    PurchaseRefused,
    PurchaseRequested,
    StockCheckRequested,
    StockFound,
    StockReceived,
    StockReserved,
)
from eventdemo.ids import order_id
from eventdemo.services import buy_request
from eventdemo.services.buy_request import BuyRequest
from tests.services.scenario import given

LAMP = ProductRegistered("lamp", "Lamp", 1_299)
FIVE_LAMPS = StockReceived("lamp", 5)
RETIRED = ProductRetired("lamp")
APPROVED = PurchaseApproved("r1", "lamp", 3, 1_299)
CREATED = OrderCreated("r1", "lamp", 3, order_id("r1"), 1_299)
SOLD_OUT = PurchaseRefused("r1", "lamp", 3, FailureCode.OUT_OF_STOCK, "3 asked for, 2 left.")
FAILED = PurchaseFailed("r1", "lamp", 3, FailureCode.OUT_OF_STOCK, "3 asked for, 2 left.")


def out_of_stock(quantity: int, detail: str) -> PurchaseRefused:
    return PurchaseRefused("r1", "lamp", quantity, FailureCode.OUT_OF_STOCK, detail)


class TestBuyRequest:
    def test_a_request_to_buy_becomes_a_task_under_its_id(self) -> None:
        task = buy_request.accept(BuyRequest("lamp", 3), "r1")
        assert task == PurchaseRequested("r1", "lamp", 3)

    def test_who_names_no_quantity_buys_one(self) -> None:
        assert buy_request.accept(BuyRequest("lamp"), "r1").quantity == 1


class TestPurchaseTask:
    def test_every_purchase_has_its_stock_checked(self) -> None:
        given().when(PurchaseRequested("r1", "lamp", 3)).then(StockCheckRequested("r1", "lamp", 3))


class TestStockCheck:
    def test_enough_on_the_shelf_is_found_at_its_version(self) -> None:
        given(LAMP, FIVE_LAMPS).when(StockCheckRequested("r1", "lamp", 3)).then(
            StockFound("r1", "lamp", 3, product_version=2)
        )

    def test_the_last_units_can_be_bought(self) -> None:
        given(LAMP, FIVE_LAMPS).when(StockCheckRequested("r1", "lamp", 5)).then(
            StockFound("r1", "lamp", 5, product_version=2)
        )

    def test_one_more_than_is_left_is_refused(self) -> None:
        given(LAMP, FIVE_LAMPS).when(StockCheckRequested("r1", "lamp", 6)).then(
            out_of_stock(6, "6 asked for, 5 left.")
        )

    def test_what_others_reserved_is_not_there(self) -> None:
        given(LAMP, FIVE_LAMPS, StockReserved("lamp", 3, "r0")).when(
            StockCheckRequested("r1", "lamp", 3)
        ).then(SOLD_OUT)

    def test_a_product_that_never_had_stock_is_sold_out(self) -> None:
        given(LAMP).when(StockCheckRequested("r1", "lamp", 1)).then(
            out_of_stock(1, "1 asked for, 0 left.")
        )

    def test_a_product_that_nobody_registered_is_unknown(self) -> None:
        given(LAMP, FIVE_LAMPS).when(StockCheckRequested("r1", "lump", 1)).then(
            PurchaseRefused(
                "r1", "lump", 1, FailureCode.UNKNOWN_PRODUCT, "There is no product lump."
            )
        )

    def test_a_retired_product_is_refused_though_it_has_units(self) -> None:
        refused = PurchaseRefused(
            "r1", "lamp", 1, FailureCode.PRODUCT_RETIRED, "lamp is not sold any more."
        )
        given(LAMP, FIVE_LAMPS, RETIRED).when(StockCheckRequested("r1", "lamp", 1)).then(refused)

    def test_a_product_that_is_on_sale_again_has_the_units_that_it_had(self) -> None:
        given(LAMP, FIVE_LAMPS, RETIRED, LAMP).when(StockCheckRequested("r1", "lamp", 5)).then(
            StockFound("r1", "lamp", 5, product_version=4)
        )


class TestProcessOrder:
    def test_units_are_reserved_and_the_purchase_approved_together(self) -> None:
        given(LAMP, FIVE_LAMPS).when(StockFound("r1", "lamp", 3, 2)).then(
            StockReserved("lamp", 3, "r1"), APPROVED
        )

    def test_the_price_is_the_one_of_the_moment_of_approval(self) -> None:
        given(LAMP, FIVE_LAMPS, ProductChanged("lamp", "Lamp", 999)).when(
            StockFound("r1", "lamp", 3, 2)
        ).then(StockReserved("lamp", 3, "r1"), PurchaseApproved("r1", "lamp", 3, 999))

    def test_stock_that_went_meanwhile_is_refused_late(self) -> None:
        given(LAMP, FIVE_LAMPS, StockReserved("lamp", 3, "r0")).when(
            StockFound("r1", "lamp", 3, 2)
        ).then(out_of_stock(3, "3 asked for, 2 left when it was their turn."))

    def test_a_product_that_was_retired_meanwhile_is_refused_late(self) -> None:
        refused = PurchaseRefused(
            "r1", "lamp", 3, FailureCode.PRODUCT_RETIRED, "lamp was retired meanwhile."
        )
        given(LAMP, FIVE_LAMPS, RETIRED).when(StockFound("r1", "lamp", 3, 2)).then(refused)

    def test_a_purchase_that_is_approved_takes_nothing_again(self) -> None:
        given(LAMP, FIVE_LAMPS, StockReserved("lamp", 3, "r1"), APPROVED).when(
            StockFound("r1", "lamp", 3, 2)
        ).then()

    def test_a_purchase_that_failed_takes_nothing(self) -> None:
        given(LAMP, FIVE_LAMPS, FAILED).when(StockFound("r1", "lamp", 3, 2)).then()


class TestOrderFailure:
    def test_a_refusal_fails_the_purchase_for_its_reason(self) -> None:
        given().when(SOLD_OUT).then(FAILED)

    def test_a_refusal_after_the_approval_changes_nothing(self) -> None:
        given(APPROVED).when(SOLD_OUT).then()

    def test_a_refusal_after_the_order_changes_nothing(self) -> None:
        given(APPROVED, CREATED).when(SOLD_OUT).then()

    def test_a_second_refusal_changes_nothing(self) -> None:
        other = PurchaseRefused("r1", "lamp", 3, FailureCode.INTERNAL_ERROR, "Too late.")
        given(FAILED).when(other).then()


class TestOrderCreation:
    def test_what_was_reserved_before_its_product_was_retired_becomes_an_order(self) -> None:
        given(LAMP, FIVE_LAMPS, StockReserved("lamp", 3, "r1"), APPROVED, RETIRED).when(
            APPROVED
        ).then(CREATED)

    def test_an_approved_purchase_becomes_an_order(self) -> None:
        given(APPROVED).when(APPROVED).then(CREATED)

    def test_a_purchase_that_has_its_order_gets_no_second_one(self) -> None:
        given(APPROVED, CREATED).when(APPROVED).then()


class TestStates:
    def test_a_shelf_counts_what_came_and_what_went(self) -> None:
        product = Product()
        for event in (LAMP, FIVE_LAMPS, StockReserved("lamp", 2, "r0"), StockReceived("lamp", 1)):
            product = product.evolve(event)
        assert (product.version, product.received, product.reserved) == (4, 6, 2)
        assert product.available == 4

    def test_a_product_holds_no_event_of_a_purchase(self) -> None:
        with pytest.raises(ValueError, match="OrderCreated is no event of a product"):
            Product().evolve(CREATED)

    def test_a_purchase_holds_no_event_of_a_product(self) -> None:
        with pytest.raises(ValueError, match="StockReceived is no event of a purchase"):
            Purchase().evolve(FIVE_LAMPS)

    @pytest.mark.parametrize(
        ("events", "decided"),
        [((), False), ((APPROVED,), True), ((APPROVED, CREATED), True), ((FAILED,), True)],
    )
    def test_a_purchase_is_decided_by_its_first_event(
        self, events: tuple[PurchaseApproved | OrderCreated | PurchaseFailed, ...], decided: bool
    ) -> None:
        purchase = Purchase()
        for event in events:
            purchase = purchase.evolve(event)
        assert purchase.decided is decided
        assert purchase.version == len(events)
