"""Reads the read models, for the API, the CLI and the audit."""

import asyncio
import heapq
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import apsw

from eventdemo import errors
from eventdemo.codec import encode_text
from eventdemo.readmodels import generations, set_aside
from eventdemo.readmodels.generations import SQL, open_file, translated
from eventdemo.readmodels.projection import Contents, OrderView, ProductView, SalesView

T = TypeVar("T")

_POLL_S = 0.02
_OPEN_ATTEMPTS = 5
#: Beyond every position and every limit that SQLite knows.
_NO_BOUND = 2**63 - 1


class ReadModels:
    """Reads the current generation in one thread of its own.

    Until a model was built every query raises ``StorageMissing``, and ``StorageCorrupt`` once
    for a damaged file, which is then removed for the projector to build again; ``position`` is 0
    meanwhile.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """What is opened ``read_only`` is not touched, not even where it is damaged."""
        self._folder = folder
        self._read_only = read_only
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-models")
        self._connection: apsw.Connection | None = None
        self._closed = False
        self._path = folder
        self._signature: generations.Signature | None = None
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = count()
        self._watch: asyncio.Task[None] | None = None

    async def product(self, product_id: str) -> ProductView | None:
        """Returns one product of the catalogue, or None."""
        rows = await self._query(lambda db: _rows(db, "product", product_id))
        return _product(rows[0]) if rows else None

    async def products(
        self, after: str = "", limit: int = 100, *, with_retired: bool = False
    ) -> list[ProductView]:
        """A page of the catalogue in the order of product ids."""
        rows = await self._query(lambda db: _rows(db, "products", after, with_retired, limit))
        return [_product(row) for row in rows]

    async def order(self, order_id: str) -> OrderView | None:
        """Returns one order, or None."""
        rows = await self._query(lambda db: _rows(db, "order", order_id))
        return OrderView(*rows[0]) if rows else None

    async def orders(
        self, product_id: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[OrderView]:
        """A page of orders, newest first; ``before`` is the last position of the page before."""
        before = _NO_BOUND if before is None else before
        if product_id is None:
            rows = await self._query(lambda db: _rows(db, "orders", before, limit))
        else:
            rows = await self._query(
                lambda db: _rows(db, "orders_of_product", product_id, before, limit)
            )
        return [OrderView(*row) for row in rows]

    async def orders_between(self, after: int, up_to: int) -> list[OrderView]:
        """The orders made by the events after one position up to another, oldest first."""
        rows = await self._query(lambda db: _rows(db, "orders_between", after, up_to))
        return [OrderView(*row) for row in rows]

    async def sales(
        self, after: str = "", limit: int = 100, *, with_retired: bool = False
    ) -> list[SalesView]:
        """A page of what was sold of the catalogue's products, in the order of their ids."""
        return await self._query(
            lambda db: _sales(db, "products_tried", after, with_retired, limit)
        )

    async def streams_set_aside(self) -> int:
        """The number of streams of which an event cannot be read; 0 when nothing is built yet."""
        try:
            return await self._query(set_aside.count)
        except errors.StorageError:
            return 0

    async def contents(self) -> Contents:
        """All totals as they are at one position."""
        return await self._query(_contents)

    async def position(self) -> int:
        """The position of the last event that the model holds; 0 when nothing is built yet."""
        return max(await self._reached(), 0)

    def projected(self) -> bool:
        """Returns whether anybody keeps the models up to date, or builds them, at present."""
        return generations.is_held(self._folder / generations.LOCK)

    async def reach(self, position: int, timeout_s: float) -> bool:
        """Waits until a model has come as far as a position; False after ``timeout_s``."""
        if await self._reached() >= position:
            return True
        if timeout_s <= 0:
            return False
        arrived = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (position, next(self._arrivals), arrived))
        if self._watch is None:
            self._watch = asyncio.create_task(self._wake_waiting())
        try:
            async with asyncio.timeout(timeout_s):
                await arrived
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Closes the file and ends the thread; ``reach`` then ends by its time-out."""
        if self._closed:
            return
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close_file)
        self._thread.shutdown()

    async def _wake_waiting(self) -> None:
        """Reads the position as long as someone waits: one query for all of them."""
        while self._waiting:
            await asyncio.sleep(_POLL_S)
            position = await self._reached()
            while self._waiting and (self._waiting[0][0] <= position or self._waiting[0][2].done()):
                _, _, arrived = heapq.heappop(self._waiting)
                if not arrived.done():
                    arrived.set_result(None)
        self._watch = None

    async def _reached(self) -> int:
        """Returns the position, or -1 while there is no model that can be read."""
        try:
            return await self._query(_position)
        except errors.StorageError:
            return -1

    # --- in the thread ------------------------------------------------------------------------

    async def _query(self, query: Callable[[apsw.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, query)

    def _answer(self, query: Callable[[apsw.Connection], T]) -> T:
        connection = self._opened()
        try:
            with translated(self._path):
                return query(connection)
        except errors.StorageCorrupt:
            self._close_file()
            self._discard(self._path)
            raise

    def _opened(self) -> apsw.Connection:
        for _ in range(_OPEN_ATTEMPTS):
            if self._connection and self._signature == generations.signature(self._folder):
                return self._connection
            self._reopen()
        raise errors.StorageBusy("The read models are being replaced: ask again.")

    def _reopen(self) -> None:
        """Opens the current generation. It is used only if it still is the current one after its
        first query: before that its write-ahead log may have been removed with it."""
        self._close_file()
        signature, path = generations.signature(self._folder), generations.current(self._folder)
        if signature is None or path is None:
            raise errors.StorageMissing(
                f"The read models in {self._folder} are not built: `eventdemo up` builds them."
            )
        self._path = path
        try:
            with translated(path):
                self._connection = open_file(path, read_only=self._read_only)
                self._connection.pragma("query_only", True)
                _position(self._connection)
        except errors.StorageMissing:
            return
        except errors.StorageCorrupt:
            self._close_file()
            self._discard(path)
            raise
        self._signature = signature

    def _discard(self, path: Path) -> None:
        if not self._read_only:
            generations.discard_corrupt(path)

    def _close_file(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._signature = None


def _rows(connection: apsw.Connection, name: str, *bindings: str | int) -> list[tuple[Any, ...]]:
    return connection.execute(SQL[name], bindings).fetchall()


def _position(connection: apsw.Connection) -> int:
    position, _ = connection.execute(SQL["state"]).get
    return int(position)


def _product(row: tuple[Any, ...]) -> ProductView:
    *columns, retired, damaged = row
    return ProductView(*[*columns, bool(retired), bool(damaged)])


def _sales(connection: apsw.Connection, name: str, *bindings: str | int) -> list[SalesView]:
    """Sums up the sales of the products that a query names, in Python, whose integers hold any
    revenue."""
    sales: dict[str, SalesView] = {}
    with connection:  # one transaction: all rows belong to one position
        for (product_id,) in _rows(connection, name, *bindings):
            sales[product_id] = SalesView(product_id)
        product_ids = encode_text(list(sales))
        for product_id, price_cents, orders, units in _rows(connection, "sales", product_ids):
            view = sales[product_id]
            view.orders += orders
            view.units += units
            view.revenue_cents += price_cents * units
        for product_id, code, purchases in _rows(connection, "failures", product_ids):
            sales[product_id].failed[code] = purchases
    return list(sales.values())


def _contents(connection: apsw.Connection) -> Contents:
    with connection:  # likewise
        products = [_product(row) for row in _rows(connection, "products", "", True, _NO_BOUND)]
        sales = _sales(connection, "sold_or_failed")
        ((orders,),) = _rows(connection, "count_orders")
        position = _position(connection)
        streams = set_aside.all_set_aside(connection)
    return Contents(position, streams, products, sales, orders)
