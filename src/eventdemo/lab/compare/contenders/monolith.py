"""The monolith as people write it: FastAPI, SQLAlchemy, a row lock, one transaction."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, CheckConstraint, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from eventdemo.lab.compare.contenders.payment import PaymentFailed, pay_blocking


class Base(DeclarativeBase):
    """The tables."""


class ProductRow(Base):
    """A product with its stock."""

    __tablename__ = "products"
    __table_args__ = (CheckConstraint("reserved <= received"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    price_cents: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    reserved: Mapped[int] = mapped_column(BigInteger, default=0)


class OrderRow(Base):
    """A purchase: an order, or why there is none."""

    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    product_id: Mapped[str]
    quantity: Mapped[int]
    unit_price_cents: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str]


class PurchaseIn(BaseModel, extra="forbid"):
    """The body of a purchase."""

    product_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    quantity: int = Field(1, ge=1, le=10_000, strict=True)


class ProductIn(BaseModel, extra="forbid"):
    """The body of a product."""

    name: str = Field(min_length=1, max_length=200)
    price_cents: int = Field(0, ge=0)


class RestockIn(BaseModel, extra="forbid"):
    """The body of a delivery."""

    quantity: int = Field(ge=1)


options: dict[str, Any] = {}
if "COMPARE_CONNECTIONS" in os.environ:  # as it stands, SQLAlchemy's pool has 5 and 10 more
    options = {"pool_size": int(os.environ["COMPARE_CONNECTIONS"]), "max_overflow": 0}
url = os.environ["COMPARE_POSTGRESQL"].replace("postgresql://", "postgresql+psycopg://")
engine = create_engine(url, **options)
new_session = sessionmaker(engine)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(1)"))  # workers start together
        Base.metadata.create_all(connection)
    yield
    engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.exception_handler(RequestValidationError)
def bad_input(_: Request, error: RequestValidationError) -> JSONResponse:
    status = 400 if error.errors()[0]["type"] == "json_invalid" else 422
    return JSONResponse({"status": status, "detail": str(error)}, status)


def session() -> Iterator[Session]:
    with new_session() as opened:
        yield opened


Database = Annotated[Session, Depends(session)]


@app.post("/purchases")
def buy(purchase: PurchaseIn, database: Database) -> dict[str, Any]:
    product = database.scalar(
        select(ProductRow).where(ProductRow.id == purchase.product_id).with_for_update()
    )
    order = OrderRow(id=uuid4(), product_id=purchase.product_id, quantity=purchase.quantity)
    order.unit_price_cents = product.price_cents if product else 0
    if product is None:
        order.outcome = "unknown_product"
    elif product.received - product.reserved < purchase.quantity:
        order.outcome = "out_of_stock"
    else:
        try:
            pay_blocking(str(order.id))
        except PaymentFailed as error:
            raise HTTPException(503, str(error)) from None
        product.reserved += purchase.quantity
        order.outcome = "confirmed"
    database.add(order)
    answer = view(order)
    database.commit()
    return answer


@app.get("/purchases/{request_id}")
def purchase(request_id: str, database: Database) -> dict[str, Any]:
    return view(find(database, request_id))


@app.get("/orders/{order_id}")
def order(order_id: str, database: Database) -> dict[str, Any]:
    order = find(database, order_id)
    if order.outcome != "confirmed":
        raise HTTPException(404, "There is no such order.")
    return {
        "order_id": str(order.id),
        "request_id": str(order.id),
        "product_id": order.product_id,
        "quantity": order.quantity,
        "unit_price_cents": order.unit_price_cents,
    }


@app.get("/products/{product_id}")
def product(product_id: str, database: Database) -> dict[str, Any]:
    row = database.get(ProductRow, product_id)
    if row is None:
        raise HTTPException(404, "There is no such product.")
    return {
        "product_id": row.id,
        "name": row.name,
        "price_cents": row.price_cents,
        "received": row.received,
        "reserved": row.reserved,
        "available": row.received - row.reserved,
    }


@app.put("/products/{product_id}")
def put_product(product_id: str, details: ProductIn, database: Database) -> dict[str, Any]:
    row = database.get(ProductRow, product_id, with_for_update=True)
    if row is None:
        row = ProductRow(id=product_id)
        database.add(row)
    row.name, row.price_cents = details.name, details.price_cents
    database.commit()
    return product(product_id, database)


@app.post("/products/{product_id}/stock")
def restock(product_id: str, delivery: RestockIn, database: Database) -> dict[str, Any]:
    row = database.get(ProductRow, product_id, with_for_update=True)
    if row is None:
        raise HTTPException(404, "There is no such product.")
    row.received += delivery.quantity
    database.commit()
    return product(product_id, database)


@app.get("/health/ready")
def ready() -> dict[str, str]:
    return {"status": "ready"}


def find(database: Session, order_id: str) -> OrderRow:
    try:
        row = database.get(OrderRow, UUID(order_id))
    except ValueError:
        row = None
    if row is None:
        raise HTTPException(404, "No such purchase was accepted.")
    return row


def view(order: OrderRow) -> dict[str, Any]:
    request_id = str(order.id)
    if order.outcome == "confirmed":
        return {"request_id": request_id, "status": "confirmed", "order_id": request_id}
    failure = {"code": order.outcome, "detail": order.outcome.replace("_", " ")}
    return {"request_id": request_id, "status": "failed", "failure": failure}
