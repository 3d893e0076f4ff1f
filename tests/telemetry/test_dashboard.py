"""What the dashboard, the alerts and the documentation ask for is what a running system shows."""

import asyncio
import os
from pathlib import Path

import pytest
import yaml
from msgspec import Struct
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from eventdemo.api.metrics import ApiMetrics, exposition
from eventdemo.errors import StorageFull
from eventdemo.ports import Engine
from eventdemo.readmodels.read_models import ReadModels
from eventdemo.readmodels.rebuild import rebuild
from eventdemo.runtime.wiring import open_embedded
from eventdemo.telemetry.instruments import Meter
from eventdemo.telemetry.observer import Telemetry
from tests.docs.markdown import ROOT, section, table
from tests.flow.driving import Instance, buy, stock
from tests.telemetry.conftest import raising
from tests.telemetry.promql import (
    ADDED,
    ALERTS,
    Question,
    panels,
    questions_of_the_alerts,
    questions_of_the_dashboard,
    selectors,
)
from tests.telemetry.test_counting import Racing

pytestmark = pytest.mark.anyio

DOCUMENT = ROOT / "docs" / "observability.md"
QUESTIONS = [*questions_of_the_dashboard(), *questions_of_the_alerts()]

#: Elsewhere the system does not tell of its processes.
ON_LINUX = Path("/proc/self/stat").exists()

#: Of what Prometheus says itself when it scrapes.
UP = "up"


class WorkerBeside(Struct):
    """A worker process as the API knows it."""

    meter: Meter
    name: str = "worker-1"
    pid: int | None = os.getpid()
    restarts: int = 1


class Page(Struct):
    """A scrape: the metrics by name, and the labels that each sample's name has."""

    families: dict[str, Metric]
    labels: dict[str, set[str]]

    def value(self, name: str, **labels: str) -> float:
        samples = (s for family in self.families.values() for s in family.samples)
        (value,) = (s.value for s in samples if s.name == name and s.labels == labels)
        return float(value)


def page_of(text: bytes) -> Page:
    families = list(text_string_to_metric_families(text.decode()))
    labels: dict[str, set[str]] = {}
    for family in families:
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return Page({family.name: family for family in families}, labels)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """After purchases that were confirmed, refused, tried again and given up, and a lost race."""
    return page_of(asyncio.run(_scraped(tmp_path_factory.mktemp("data"))))


async def _scraped(folder: Path) -> bytes:
    engine, read_models = await open_embedded(folder / "eventdemo.db"), ReadModels(folder)
    worker = WorkerBeside(Meter())
    metrics = ApiMetrics([worker])
    metrics.answered(202, 0.002)
    metrics.raised(StorageFull("no space is left"))
    for product_id in ("lamp", "poison"):
        await stock(engine, product_id, 1)
    await rebuild(engine.pool, folder, lambda position, head: None)
    for product_id in ("lamp", "lamp", "ghost", "poison"):
        await buy(engine, product_id)
    rows, racing = raising("stock_check"), Racing(engine, 1)
    await Instance(racing, rows=rows, observer=Telemetry(worker.meter)).run_dry()
    try:
        return await exposition(engine, read_models, metrics, {"storage": False})
    finally:
        await read_models.close()
        await engine.close()


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.title)
def test_what_is_asked_for_is_shown(page: Page, question: Question) -> None:
    asked = selectors(question.expression)
    assert asked
    for selector in asked:
        if selector.metric == UP or (selector.metric.startswith("process_") and not ON_LINUX):
            continue
        assert selector.metric in page.labels
        assert selector.labels <= page.labels[selector.metric] | ADDED
        assert question.shown <= page.labels[selector.metric]


def test_the_page_says_what_happened(page: Page) -> None:
    decided = "eventdemo_purchases_decided_total"
    assert page.value(decided, outcome="confirmed") == 1
    assert page.value(decided, outcome="out_of_stock") == 1
    assert page.value(decided, outcome="unknown_product") == 1
    assert page.value(decided, outcome="internal_error") == 1
    assert page.value("eventdemo_purchases_accepted_total") == 4
    assert page.value("eventdemo_purchase_answers_total", status="202") == 1
    assert page.value("eventdemo_conflicts_total", service="purchase_task") == 1
    assert page.value("eventdemo_messages_retried_total", service="stock_check") == 4
    assert page.value("eventdemo_dead_letters_total", service="stock_check") == 1
    assert page.value("eventdemo_messages_dead", service="stock_check") == 1
    assert page.value("eventdemo_storage_errors_total", part="api") == 1
    assert page.value("eventdemo_worker_restarts_total") == 1
    assert page.value("eventdemo_workers") == 1
    assert page.value("eventdemo_storage_up") == 1
    behind = page.value("eventdemo_event_pool_head") - page.value("eventdemo_read_models_position")
    assert page.value("eventdemo_read_models_lag_events") == behind > 0
    assert page.value("eventdemo_read_models_lag_seconds") > 0


def test_every_metric_is_on_the_dashboard(page: Page) -> None:
    asked = {s.metric for q in questions_of_the_dashboard() for s in selectors(q.expression)}
    for name, family in page.families.items():
        if name.startswith("eventdemo_"):
            assert asked & {sample.name for sample in family.samples}, f"{name} is on no panel"


def test_every_metric_is_documented_and_every_documented_one_is_shown(page: Page) -> None:
    rows = table(section(DOCUMENT, "Metrics"))
    documented = {row[0].strip("`"): row for row in rows}
    types = {
        f"{name}_total" if family.type == "counter" else name: family
        for name, family in page.families.items()
    }
    if not ON_LINUX:
        documented = {n: row for n, row in documented.items() if not n.startswith("process_")}
    assert set(documented) == set(types)
    for name, (_, kind, labels, *_rest) in documented.items():
        shown = {label for s in types[name].samples for label in s.labels} - {"le"}
        assert kind == types[name].type
        assert set(labels.replace("`", "").replace(",", "").split()) == shown, name


async def test_while_the_storage_fails_the_page_says_so_and_shows_the_rest(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing() -> int:
        raise StorageFull("no space is left")

    monkeypatch.setattr(engine.pool, "head", failing)
    read_models = ReadModels(tmp_path)
    page = page_of(await exposition(engine, read_models, ApiMetrics(), {"storage": False}))
    await read_models.close()
    assert page.value("eventdemo_storage_up") == 0
    assert page.value("eventdemo_storage_errors_total", part="api") == 1
    assert "eventdemo_event_pool_head" not in page.labels


def test_panels_and_alerts_explain_themselves() -> None:
    for panel in panels():
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_every_alert_says_where_to_look() -> None:
    listed = [row[0].strip("`") for row in table(section(DOCUMENT, "A dashboard and alerts"))]
    assert listed == [question.title for question in questions_of_the_alerts()]


def test_a_metric_that_is_not_there_would_be_found() -> None:
    (selector,) = selectors('sum by (topic) (rate(eventdemo_no_such_total{hop="1"}[5m]))')
    assert selector.metric == "eventdemo_no_such_total"
    assert selector.labels == {"topic", "hop"}
