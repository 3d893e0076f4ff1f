"""Which metrics and labels a PromQL expression asks for."""

import json
from collections.abc import Iterator
from typing import Any

import promql_parser
import yaml
from msgspec import Struct

from tests.docs.markdown import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "eventdemo.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"

#: Prometheus adds these to whatever it scrapes.
ADDED = {"job", "instance"}


class Question(Struct, frozen=True):
    """One expression, where it stands, and the labels that its result is shown with."""

    title: str
    expression: str
    shown: frozenset[str]


class Selector(Struct, frozen=True):
    """One metric of an expression and the labels it is chosen or grouped by."""

    metric: str
    labels: frozenset[str]


def panels() -> list[dict[str, Any]]:
    """All panels of the dashboard but its rows."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def questions_of_the_dashboard() -> list[Question]:
    """Every query, with Grafana's variables filled in as it would."""
    return [
        Question(panel["title"], _filled(target["expr"]), _in_braces(target["legendFormat"]))
        for panel in panels()
        for target in panel["targets"]
    ]


def questions_of_the_alerts() -> list[Question]:
    """Every rule's condition."""
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [Question(rule["alert"], rule["expr"], frozenset()) for rule in group["rules"]]


def selectors(expression: str) -> list[Selector]:
    """The metrics of an expression. Raises ``ValueError`` if it is no PromQL."""
    return list(_selectors(promql_parser.parse(expression), frozenset()))


def _selectors(node: Any, grouped_by: frozenset[str]) -> Iterator[Selector]:
    match node:
        case promql_parser.VectorSelector():
            chosen = {matcher.name for matcher in node.matchers.matchers}
            yield Selector(str(node.name), frozenset(chosen | grouped_by))
        case promql_parser.MatrixSelector():
            yield from _selectors(node.vector_selector, grouped_by)
        case promql_parser.AggregateExpr():
            labels = node.modifier.labels if node.modifier else ()
            yield from _selectors(node.expr, grouped_by | set(labels))
        case promql_parser.BinaryExpr():
            yield from _selectors(node.lhs, grouped_by)
            yield from _selectors(node.rhs, grouped_by)
        case promql_parser.Call():
            for argument in node.args:
                yield from _selectors(argument, grouped_by)
        case promql_parser.ParenExpr():
            yield from _selectors(node.expr, grouped_by)
        case promql_parser.NumberLiteral():
            return
        case _:
            raise ValueError(f"{type(node).__name__} is not understood here")


def _filled(expression: str) -> str:
    return expression.replace("$__rate_interval", "1m").replace("$job", ".*")


def _in_braces(legend: str) -> frozenset[str]:
    return frozenset(part.partition("}}")[0] for part in legend.split("{{")[1:])
