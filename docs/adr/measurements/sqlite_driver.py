"""Compares the two SQLite drivers on what the flow does most: append a batch, read it back.

Run it with ``.venv/bin/python docs/adr/measurements/sqlite_driver.py``.
"""

# ruff: noqa: T201, INP001 - a script: it prints, and no one imports it

import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import apsw

ROWS, ROUNDS = 2_000, 30
TABLE = """CREATE TABLE event (
    position INTEGER PRIMARY KEY, stream TEXT, version INTEGER, body TEXT, UNIQUE (stream, version)
)"""
INSERT = "INSERT INTO event (stream, version, body) VALUES (?, ?, ?)"
SELECT = "SELECT position, stream, version, body FROM event WHERE position > ? LIMIT ?"
BODY = '{"type":"StockReserved","product_id":"sku-1","quantity":1,"request_id":"01a2060d"}'


def milliseconds(work: Callable[[int], object]) -> float:
    """The median of some rounds, the first of which is for warming up."""
    took = []
    for number in range(ROUNDS + 1):
        began = perf_counter()
        work(number)
        took.append((perf_counter() - began) * 1_000)
    return median(took[1:])


def measure(name: str, version: str, connection: Any) -> None:
    """``connection`` is of either driver and begins transactions only when it is told to."""
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", TABLE):
        connection.execute(statement).fetchall()

    def append(number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        rows = [(f"product-{n}", number + 1, BODY) for n in range(ROWS)]
        connection.executemany(INSERT, rows)
        connection.execute("COMMIT")

    def read(number: int) -> None:
        found = connection.execute(SELECT, (number * ROWS, ROWS)).fetchall()
        assert len(found) == ROWS

    appended, found = milliseconds(append), milliseconds(read)
    print(f"{name:8} SQLite {version:8} append {appended:6.2f} ms   read {found:6.2f} ms")


with tempfile.TemporaryDirectory() as folder:
    print(f"Python {sys.version.split()[0]}; {ROWS} rows per transaction, medians of {ROUNDS}")
    measure("apsw", apsw.sqlite_lib_version(), apsw.Connection(str(Path(folder) / "a.db")))
    standard = sqlite3.connect(Path(folder) / "s.db", isolation_level=None)
    measure("sqlite3", sqlite3.sqlite_version, standard)
