"""Compares a row per message with a record batch of 256: to store, to read, and to search.

Run it with ``.venv/bin/python docs/adr/measurements/record_batches.py``.
"""

# ruff: noqa: T201, INP001 - a script: it prints, and no one imports it

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import apsw

from eventdemo.codec import decode_messages, encode_text
from eventdemo.facts import StockFound
from eventdemo.ids import message_id, new_request_id, now_us
from eventdemo.messages import Message
from eventdemo.slots import slot_of

MESSAGES, SIZE, ROUNDS = 2_048, 256, 30


def message() -> Message:
    at_us = now_us()
    request_id = new_request_id(at_us, slot_of("sku-1"))
    data = StockFound(request_id, "sku-1", 1, 17)
    return Message(message_id(request_id, 3), request_id, f"{request_id}/2", at_us, data)


def milliseconds(work: Callable[[], object]) -> float:
    took = []
    for _ in range(ROUNDS):
        began = perf_counter()
        work()
        took.append((perf_counter() - began) * 1_000)
    return median(took)


def opened(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, request_id TEXT, body TEXT)")
    return connection


with tempfile.TemporaryDirectory() as folder:
    messages = [message() for _ in range(MESSAGES)]
    wanted = messages[MESSAGES // 2].correlation_id
    insert = "INSERT INTO log (request_id, body) VALUES (?, ?)"
    last = "SELECT body FROM log WHERE id > (SELECT max(id) FROM log) - ?"

    singly = opened(Path(folder) / "rows.db")
    singly.execute("CREATE INDEX log_request ON log (request_id)")

    def store_rows() -> None:
        with singly:
            rows = ((each.correlation_id, encode_text(each)) for each in messages)
            singly.executemany(insert, rows)

    def read_rows() -> None:
        bodies = [body for (body,) in singly.execute(last, (MESSAGES,))]
        assert len(decode_messages(f"[{','.join(bodies)}]", "log")[0]) == MESSAGES

    def find_row() -> None:
        singly.execute("SELECT body FROM log WHERE request_id = ?", (wanted,)).fetchone()

    batched = opened(Path(folder) / "batches.db")
    runs = [messages[start : start + SIZE] for start in range(0, MESSAGES, SIZE)]

    def store_batches() -> None:
        with batched:
            batched.executemany(insert, (("", encode_text(run)) for run in runs))

    def read_batches() -> None:
        found = [decode_messages(body, "log")[0] for (body,) in batched.execute(last, (len(runs),))]
        assert sum(map(len, found)) == MESSAGES

    def find_in_batches() -> None:
        assert any(wanted in body for (body,) in batched.execute(last, (len(runs),)))

    print(f"{MESSAGES} messages per transaction; medians of {ROUNDS}, in ms")
    for name, store, read, find in (
        ("a row each", store_rows, read_rows, find_row),
        (f"{SIZE} a row", store_batches, read_batches, find_in_batches),
    ):
        times = (milliseconds(store), milliseconds(read), milliseconds(find))
        print(f"{name:11} store {times[0]:6.2f}   read {times[1]:6.2f}   find one {times[2]:7.3f}")
    for name in ("rows", "batches"):
        connection = singly if name == "rows" else batched
        pages = connection.pragma("page_count") * connection.pragma("page_size")
        print(f"{name:8} {pages / (ROUNDS * MESSAGES):.0f} bytes per message")
