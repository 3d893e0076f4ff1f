"""What deciders know: the state of a product and of a purchase, folded from their events."""

from typing import ClassVar, Self

from msgspec import Struct

from eventdemo.facts import (
    Event,
    OrderCreated,
    ProductChanged,
    ProductRegistered,
    ProductRetired,
    PurchaseApproved,
    PurchaseFailed,
    PurchaseMessage,
    StockReceived,
    StockReserved,
    product_stream,
    purchase_stream,
)

#: Raised when the fields of ``Product`` change: older snapshots are then left unread.
SNAPSHOT_SHAPE = 2


class Product(Struct, frozen=True, gc=False):
    """One product's shelf: ``received`` minus ``reserved`` units can still be bought, unless the
    product is retired. It is registered once and for ever."""

    #: Streams grow for ever: their state is kept between batches and stored as snapshots.
    long_lived: ClassVar[bool] = True

    version: int = 0
    registered: bool = False
    name: str = ""
    price_cents: int = 0
    received: int = 0
    reserved: int = 0
    retired: bool = False

    @property
    def available(self) -> int:
        return self.received - self.reserved

    @staticmethod
    def stream_of(message: PurchaseMessage) -> str:
        return product_stream(message.product_id)

    def evolve(self, event: Event) -> Self:
        """Returns the state after one more event of the product's stream."""
        version, registered, name = self.version + 1, self.registered, self.name
        price_cents, received, reserved = self.price_cents, self.received, self.reserved
        retired = self.retired
        match event:
            case StockReserved():
                reserved += event.quantity
            case StockReceived():
                received += event.quantity
            case ProductRegistered() | ProductChanged():
                registered, name, price_cents = True, event.name, event.price_cents
                retired = False
            case ProductRetired():
                retired = True
            case PurchaseApproved() | OrderCreated() | PurchaseFailed():
                raise ValueError(f"{type(event).__name__} is no event of a product")
        return type(self)(version, registered, name, price_cents, received, reserved, retired)


class Purchase(Struct, frozen=True, gc=False):
    """One purchase's outcome, as far as it has one."""

    long_lived: ClassVar[bool] = False

    version: int = 0
    approved: bool = False
    failed: bool = False
    order_id: str | None = None

    @property
    def decided(self) -> bool:
        return self.approved or self.failed

    @staticmethod
    def stream_of(message: PurchaseMessage) -> str:
        return purchase_stream(message.request_id)

    def evolve(self, event: Event) -> Self:
        """Returns the state after one more event of the purchase's stream."""
        version = self.version + 1
        match event:
            case PurchaseApproved():
                return type(self)(version, approved=True)
            case PurchaseFailed():
                return type(self)(version, failed=True)
            case OrderCreated():
                return type(self)(version, approved=True, order_id=event.order_id)
            case (
                ProductRegistered()
                | ProductChanged()
                | ProductRetired()
                | StockReceived()
                | StockReserved()
            ):
                raise ValueError(f"{type(event).__name__} is no event of a purchase")


Aggregate = Product | Purchase
