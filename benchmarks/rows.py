"""The rows of real orders, written again by bare SQLite: what the same bytes cost without us."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Sized
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import apsw
import msgspec

from benchmarks.filling import PRODUCT_CAUSES
from benchmarks.plan import FILLED_AT_ONCE
from benchmarks.services import decide_all
from eventdemo.engines.sqlite.engine import FLOW_SCHEMA, QUEUE_SCHEMA
from eventdemo.engines.sqlite.opening import Schema
from eventdemo.messages import Outcome

_EVENTS = "SELECT * FROM event WHERE causation_id NOT LIKE :product_causes ORDER BY position"
_RECORD_BATCHES = "SELECT * FROM record_batch ORDER BY id"
_OUTCOMES = "SELECT * FROM session ORDER BY cursor"
_INSERTS = {
    _EVENTS: "INSERT INTO event VALUES",
    _RECORD_BATCHES: "INSERT INTO record_batch VALUES",
    _OUTCOMES: "INSERT INTO session VALUES",
}

_outcome = msgspec.json.Decoder(Outcome)


class Write(NamedTuple):
    """One statement and its rows."""

    sql: str
    rows: list[tuple[Any, ...]]


Transaction = list[Write]


def write_again(folder: Path, purchases: int, products: int) -> dict[str, float]:
    """Decides purchases in ``folder``, then times the rows that this made, in files beside it.

    Returns orders per second, for the flow's file and for the task queue's.
    """
    decide_all(folder, purchases, products, with_projector=False)
    flow, queue = folder / "eventdemo.db", folder / "eventdemo.queue.db"
    flow_s = _timed(folder / "bare.db", FLOW_SCHEMA, _flow_transactions(flow))
    queue_s = _timed(folder / "bare.queue.db", QUEUE_SCHEMA, _queue_transactions(queue))
    return {
        "orders/s, flow's file": purchases / flow_s,
        "orders/s, task queue's file": purchases / queue_s,
    }


def _flow_transactions(path: Path) -> list[Transaction]:
    """A service gives all that one batch causes the same time, which so tells the batches apart."""
    batches: dict[int, dict[str, Write]] = defaultdict(dict)
    times: dict[str, Callable[[dict[str, Any]], int]] = {
        _EVENTS: lambda event: event["at_us"],
        _RECORD_BATCHES: lambda record_batch: record_batch["first_at_us"],
        _OUTCOMES: lambda outcome: _outcome.decode(outcome["body"]).decided_at_us,
    }
    for select, at_us in times.items():
        for row in _rows(path, select):
            write = batches[at_us(row)].setdefault(select, Write(_insert(select, row), []))
            write.rows.append(tuple(row.values()))
    return [list(batches[at_us].values()) for at_us in sorted(batches)]


def _queue_transactions(path: Path) -> list[Transaction]:
    """Purchases that were accepted together."""
    transactions: list[Transaction] = []
    together = FILLED_AT_ONCE
    for row in _rows(path, _RECORD_BATCHES):
        if together >= FILLED_AT_ONCE:
            transactions.append([Write(_insert(_RECORD_BATCHES, row), [])])
            together = 0
        transactions[-1][0].rows.append(tuple(row.values()))
        together += row["size"]
    return transactions


def _rows(path: Path, select: str) -> Iterator[dict[str, Any]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        cursor = connection.execute(select, {"product_causes": f"{PRODUCT_CAUSES}%"})
        for row in cursor:
            yield dict(zip((name for name, *_ in cursor.description), row, strict=True))
    finally:
        connection.close()


def _insert(select: str, row: Sized) -> str:
    return f"{_INSERTS[select]} ({','.join('?' * len(row))})"


def _timed(path: Path, schema: Schema, transactions: Sequence[Transaction]) -> float:
    """Seconds that it takes to make all transactions durable in a file like the engine's."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "WAL")
    connection.pragma("synchronous", "FULL")
    connection.pragma("cache_size", -65_536)
    connection.pragma("wal_autocheckpoint", schema.checkpoint_pages)
    connection.execute(schema.statements)
    began = perf_counter()
    for transaction in transactions:
        connection.execute("BEGIN IMMEDIATE")
        for sql, rows in transaction:
            connection.executemany(sql, rows)
        connection.execute("COMMIT")
    took_s = perf_counter() - began
    connection.close()
    return took_s
