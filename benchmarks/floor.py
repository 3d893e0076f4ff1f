"""The floor: what the HTTP stack and SQLite take by themselves, which nothing above can beat."""

import tempfile
from pathlib import Path

from benchmarks.isolation import isolated
from benchmarks.plan import (
    FLOOR_PURCHASES,
    PRODUCTS,
    SERVICES_TIMEOUT_S,
    WRK_CONNECTIONS,
    Plan,
)
from benchmarks.processes import free_port, server
from benchmarks.purchases import receipt_of
from benchmarks.report import Case, Section, progress
from benchmarks.rows import write_again
from benchmarks.wrk import run_wrk

_ROOT = Path(__file__).parent.parent


def measure(plan: Plan) -> list[Section]:
    return [_empty_answers(plan), _bare_rows(plan)]


def _empty_answers(plan: Plan) -> Section:
    case = Case("empty 202")
    for run in range(1, plan.runs + 1):
        progress(f"floor: run {run} of {plan.runs}, {case.name}")
        case.runs.append(_empty_answer(plan))
    note = (
        "The API's server with nothing behind it: it reads a purchase and answers. "
        f"wrk, {WRK_CONNECTIONS} connections."
    )
    return Section("Floor: HTTP", note, [case])


def _empty_answer(plan: Plan) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="floor-", dir=plan.folder) as temporary:
        folder, port = Path(temporary), free_port()
        with server(("benchmarks.empty_server", str(port)), port, folder, cwd=_ROOT) as running:
            before = running.api().cpu_us
            result = run_wrk(port, 1, plan.seconds, folder)
            cpu_us = running.api().cpu_us - before
    measures = {name.replace("accepted", "requests"): v for name, v in result.measures().items()}
    return measures | {"CPU µs per request": cpu_us / result.requests}


def _bare_rows(plan: Plan) -> Section:
    purchases = min(plan.purchases or FLOOR_PURCHASES, FLOOR_PURCHASES)
    cases = {products: Case(name) for name, products in PRODUCTS.items()}
    for run in range(1, plan.runs + 1):
        for products, case in cases.items():
            progress(f"floor: run {run} of {plan.runs}, rows of {case.name}")
            with tempfile.TemporaryDirectory(prefix="floor-", dir=plan.folder) as temporary:
                folder = Path(temporary)
                arguments = (folder, purchases, products)
                case.runs.append(isolated(SERVICES_TIMEOUT_S, write_again, *arguments))
                case.receipts.append(receipt_of(folder, purchases))
    note = (
        f"The rows that {purchases:,} real orders made, inserted again by bare SQLite: same "
        "schema, same batches, a durable commit each; the flow's commits hold what a service "
        f"handled together, the task queue's {WRK_CONNECTIONS} purchases."
    )
    return Section("Floor: SQLite", note, list(cases.values()))
