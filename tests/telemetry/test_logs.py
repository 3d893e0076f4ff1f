"""Logs: one line for each failure, with the ids to find it by; none for what went well."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
import structlog

from eventdemo.api import problems
from eventdemo.api.app import Application
from eventdemo.api.context import AppContext
from eventdemo.errors import OutcomeUnknown, StorageFull
from eventdemo.ids import is_request_id
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.runtime import handling_log
from eventdemo.runtime.handler import MAX_CONFLICTS
from eventdemo.settings import Settings
from eventdemo.telemetry import logs
from tests.flow.driving import Instance, buy, stock
from tests.telemetry.conftest import raising
from tests.telemetry.test_counting import Racing

pytestmark = pytest.mark.anyio

Lines = Callable[[], list[dict[str, Any]]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error, with logs going there in JSON."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    yield from _configured(stream, monkeypatch)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    yield from _configured(stream, monkeypatch)


def _configured(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Logs go to the stream, also those of modules that have logged elsewhere before."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    level = root.level
    logs.configure("info")
    structlog.configure(cache_logger_on_first_use=False)
    for module in (handling_log, problems):
        monkeypatch.setattr(module, "log", structlog.get_logger(module.__name__))
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def lines(written: io.StringIO) -> Lines:
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


async def test_a_failed_message_is_a_line_for_each_attempt_with_its_ids(
    engine: Engine, lines: Lines
) -> None:
    await stock(engine, "poison", 1)
    request_id = await buy(engine, "poison")
    await Instance(engine, rows=raising("stock_check")).run_dry()
    *retried, given_up = lines()
    ids = {
        "service": "stock_check",
        "message_id": f"{request_id}/2",
        "correlation_id": request_id,
        "causation_id": f"{request_id}/1",
        "reason": "RuntimeError: poison is bad",
    }
    assert [line["attempt"] for line in retried] == [1, 2, 3, 4]
    for line in retried:
        assert line.items() >= (ids | {"level": "warning"}).items()
        assert line["event"] == "message failed and is tried again"
    assert given_up.items() >= (ids | {"level": "error", "attempt": 5}).items()
    assert given_up["event"] == "message was given up"


async def test_what_goes_well_is_not_logged(engine: Engine, lines: Lines) -> None:
    await stock(engine, "lamp", 10)
    for _ in range(20):
        await buy(engine, "lamp")
    await Instance(engine).run_dry()
    assert lines() == []


async def test_messages_that_lost_their_races_together_are_one_line(
    engine: Engine, lines: Lines
) -> None:
    await stock(engine, "lamp", 10)
    for _ in range(20):
        await buy(engine, "lamp")
    await Instance(Racing(engine, MAX_CONFLICTS)).step("purchase_task")
    (line,) = lines()
    assert line["event"] == "batch is handed out again message by message"
    assert (line["service"], line["messages"]) == ("purchase_task", 20)


async def test_a_request_that_fails_is_a_line_with_its_id(
    engine: Engine, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object, **__: object) -> None:
        raise StorageFull("no space is left on /secret")

    request_id = await buy(engine, "lamp")
    monkeypatch.setattr(engine.queue, "enqueue", failing)
    monkeypatch.setattr(engine.message_log, "path_of", failing)
    read_models = ReadModels(tmp_path)
    context = AppContext(Settings(), engine, read_models)
    transport = httpx.ASGITransport(app=Application(context))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        bought = await client.post("/purchases", json={"product_id": "lamp"})
        traced = await client.get(f"/purchases/{request_id}/trace")
    await context.stop()
    await read_models.close()
    assert (bought.status_code, traced.status_code) == (503, 503)
    buying, tracing = (line for line in lines() if line["logger"] == problems.__name__)
    assert buying["reason"] == tracing["reason"] == "no space is left on /secret"
    assert is_request_id(buying["request_id"])
    assert tracing["request_id"] == request_id
    assert tracing["path"] == f"/purchases/{request_id}/trace"


async def test_an_answer_of_the_storage_that_was_lost_is_told_apart_from_nothing_done(
    engine: Engine, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_models = ReadModels(tmp_path)
    context = AppContext(Settings(), engine, read_models)
    transport = httpx.ASGITransport(app=Application(context))
    answers = []
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for error in (OutcomeUnknown("no answer came"), StorageFull("no space is left")):
            monkeypatch.setattr(engine.queue, "enqueue", AsyncMock(side_effect=error))
            answers.append(await client.post("/purchases", json={"product_id": "lamp"}))
    await context.stop()
    await read_models.close()
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert answer.json()["type"] == "/problems/storage"
    unknown, undone = (answer.json()["detail"] for answer in answers)
    assert "the purchase" in unknown
    assert "may have been accepted" in unknown
    assert "Repeating it with the same Idempotency-Key is safe" in unknown
    assert "may" not in undone
    logged = [line for line in lines() if line["logger"] == problems.__name__]
    assert [line["effect"] for line in logged] == ["outcome unknown", "nothing was done"]
    assert all(is_request_id(line["request_id"]) for line in logged)


INJECTED = 'x\n{"event": "forged"}\r\x1b[2J\x1b]0;owned\x07\u2028\x85end'


def test_what_a_client_sends_cannot_forge_a_line(written: io.StringIO) -> None:
    structlog.get_logger("test").warning("said", reason=INJECTED, **{"na me": INJECTED})
    logging.getLogger("library").warning("said %s", INJECTED)
    out = written.getvalue()
    assert len(out.splitlines()) == 2
    assert out.isascii()
    assert all(json.loads(line)["event"].startswith("said") for line in out.splitlines())


def test_what_a_client_sends_cannot_reach_the_terminal(terminal: io.StringIO) -> None:
    structlog.get_logger("test").warning("said", reason=INJECTED)
    structlog.get_logger("test").warning("said", reason=INJECTED.replace(" ", ""))
    logging.getLogger("library").warning("said %s", INJECTED)
    out = terminal.getvalue()
    assert len(out.splitlines()) == 3
    for harm in ("\x1b[2J", "\x1b]0;", "\x07", "\r", "\u2028", "\x85"):
        assert harm not in out
    assert "\\x1b[2J" in out


def test_nor_can_it_through_an_exception(terminal: io.StringIO) -> None:
    try:
        raise ValueError(INJECTED)  # noqa: TRY301 - as it would be raised
    except ValueError:
        structlog.get_logger("test").exception("failed")
    out = terminal.getvalue()
    assert "Traceback" in out
    assert "\x1b[2J" not in out


def test_long_values_are_cut_off(lines: Lines, written: io.StringIO) -> None:
    structlog.get_logger("test").warning("said", reason="x" * 1_000_000)
    (line,) = lines()
    assert line["reason"].endswith("x… (1,000,000 characters)")
    assert len(written.getvalue()) < 2 * logs.MAX_CHARACTERS


def test_an_exception_keeps_its_stack(lines: Lines) -> None:
    try:
        raise ValueError(INJECTED)  # noqa: TRY301 - the stack is what is tested
    except ValueError:
        structlog.get_logger("test").exception("failed")
    (line,) = lines()
    assert "Traceback" in line["exception"]
    assert "test_logs.py" in line["exception"]
