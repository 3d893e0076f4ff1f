"""Counts the write units that an order costs in the event pool on DynamoDB, by size of batch.

Run it with ``.venv/bin/python docs/adr/measurements/dynamodb_units.py``.
"""

# ruff: noqa: T201, INP001 - a script: it prints, and no one imports it

import asyncio
import uuid
from itertools import pairwise

from eventdemo.engines.aws.dynamodb.event_pool import DynamoEventPool
from eventdemo.facts import Event, OrderCreated, ProductRegistered, PurchaseApproved, StockReserved
from eventdemo.ids import message_id, new_request_id, now_us, order_id
from eventdemo.lab.simulation.dynamodb_model import ModelTable, TableModel
from eventdemo.messages import Recording, Write


def recording(causation_id: str, request_id: str, *writes: tuple[int, Event]) -> Recording:
    events = tuple(Write(event.stream, version, event) for version, event in writes)
    return Recording(causation_id, request_id, now_us(), events)


async def units_per_order(batch: int) -> tuple[float, ...]:
    """Of reserving, of moving that to the log, of the order, and of moving that."""
    model = TableModel()
    pool = DynamoEventPool(ModelTable(model), lambda: uuid.uuid4().hex)
    await pool.append([recording("c", "c", (0, ProductRegistered("sku-1", "Lamp", 999)))])
    await pool.head()
    ids = [new_request_id(now_us(), 0) for _ in range(batch)]
    reserved = [
        recording(
            message_id(each, 3),
            each,
            (1 + index, StockReserved("sku-1", 1, each)),
            (0, PurchaseApproved(each, "sku-1", 1, 999)),
        )
        for index, each in enumerate(ids)
    ]
    created = [
        recording(
            message_id(each, 5), each, (1, OrderCreated(each, "sku-1", 1, order_id(each), 999))
        )
        for each in ids
    ]
    units = [model.write_units]
    for recordings in (reserved, created):
        await pool.append(recordings)
        units.append(model.write_units)
        await pool.head()
        units.append(model.write_units)
    return tuple((after - before) / batch for before, after in pairwise(units))


async def main() -> None:
    print("orders per batch   reserve   to the log   order   to the log     sum")
    for batch in (1, 10, 49):
        units = await units_per_order(batch)
        reserve, reserve_move, order, order_move = units
        print(
            f"{batch:16} {reserve:9.2f} {reserve_move:12.2f} {order:7.2f} {order_move:12.2f}"
            f" {sum(units):7.2f}"
        )


if __name__ == "__main__":
    asyncio.run(main())
