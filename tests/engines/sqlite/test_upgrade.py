"""A file of the schema before is brought to today's when it is opened, with all that it holds."""

from pathlib import Path

import apsw
import pytest

from eventdemo.engines.sqlite import opening
from eventdemo.messages import DeadLetterFilter, DeadLetterState
from eventdemo.runtime.wiring import open_embedded
from tests.conformance.samples import SERVICE, TOPIC, check, dead, receive
from tests.flow.driving import Instance, buy, outcome, stock

pytestmark = pytest.mark.anyio

#: What schema 1 called a retry and a dead letter.
VERSION_1 = """
DROP TABLE retry; DROP TABLE dead_letter; DROP TABLE identity;
CREATE TABLE retry (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL, due_at_us INTEGER NOT NULL,
    attempt INTEGER NOT NULL, reason TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX retry_due ON retry (service, due_at_us);
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT NOT NULL, topic TEXT NOT NULL,
    message_id TEXT NOT NULL, correlation_id TEXT NOT NULL, body BLOB NOT NULL,
    reason TEXT NOT NULL, stack TEXT NOT NULL, attempts INTEGER NOT NULL, at_us INTEGER NOT NULL,
    redriven_at_us INTEGER
);
PRAGMA user_version = 1;
"""


async def test_retries_and_dead_letters_of_schema_1_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "eventdemo.db"
    engine = await open_embedded(path)
    await stock(engine, "lamp", 10)
    request_id = await buy(engine, "lamp")
    await engine.close()
    retried, letter = check("lamp"), dead(check("lamp"))
    old = apsw.Connection(str(path))
    old.execute(VERSION_1)
    body = dead(retried).body.decode()
    old.execute("INSERT INTO retry VALUES (1, ?, 0, 2, 'again', ?)", (SERVICE, body))
    old.execute(
        "INSERT INTO dead_letter VALUES (7, ?, ?, ?, 'r', ?, 'broke', '', 5, 1, NULL)",
        (SERVICE, TOPIC, letter.message_id, letter.body),
    )
    old.close()

    engine = await open_embedded(path)

    assert (await engine.flow_status.counts())[SERVICE].in_flight == 1
    again = await receive(engine.topics)
    assert (list(again.messages), again.attempt) == ([retried], 2)
    await engine.topics.settle(again, [], [])
    (kept,) = await engine.dead_letters.find(DeadLetterFilter(request_id="r"))
    assert (kept.id, kept.body, kept.state) == (7, letter.body, DeadLetterState.DEAD)
    assert await engine.dead_letters.redrive(7) == 1
    assert (await receive(engine.topics)).messages[0].id == letter.message_id
    await Instance(engine).run_dry()
    assert (await outcome(engine, request_id)).order_id
    await engine.close()
    for name in ("eventdemo.db", "eventdemo.queue.db"):
        upgraded = apsw.Connection(str(tmp_path / name))
        assert upgraded.pragma("user_version") == opening.SCHEMA_VERSION
        upgraded.close()
