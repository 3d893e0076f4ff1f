"""Locust buys one product at a constant arrival rate, follows each purchase to its outcome, and
compares what buyers were told with the stock.

A user of Locust is a closed loop: it buys again when it knows the outcome, so a slow system gets
less to do. The one user here lets buyers in, at random at the rate, and waits for none of them.
"""

from argparse import ArgumentTypeError, Namespace
from collections import Counter
from random import expovariate
from time import perf_counter
from typing import Any
from uuid import uuid4

import gevent
from gevent.pool import Group
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.clients import HttpSession
from locust.env import Environment

#: Polls of a pending purchase, each of which waits for its outcome inside the API.
POLLS = 6
POLL_S = 5


class Run:
    """The product of this run, how many bought it, and how many of them learnt which outcome."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.product_id = f"loadtest-{uuid4()}"
        self.bought = 0
        self.outcomes: Counter[str] = Counter()

    def compare(self, stock: int, shelf: dict[str, int]) -> list[str]:
        """Says what was sold; returns where the shelf is not what buyers were told."""
        confirmed, refused = self.outcomes["confirmed"], self.outcomes["out_of_stock"]
        received, available = shelf["received"], shelf["available"]
        sold, unknown = received - available, self.bought - self.outcomes.total()
        print(
            f"sold {sold} of {received} units to {self.bought} buyers:"
            f" {confirmed} confirmed, {refused} out of stock",
            flush=True,
        )
        checks = {
            "nobody bought": self.bought == 0,
            f"{unknown} without an outcome": unknown > 0,
            f"received {received}": received != stock,
            "oversold": available < 0 or confirmed > received,
            f"sold {sold}, but confirmed {confirmed}": sold != confirmed,
            f"refused {refused}, but {available} left": refused > 0 and available > 0,
        }
        return [flaw for flaw, there in checks.items() if there]


run = Run()


class Arrivals(FastHttpUser):
    host = "http://localhost:8000"
    concurrency = 2_000  # connections, as many as there are buyers waiting

    def on_start(self) -> None:
        self.buyers = Group()
        self.due = perf_counter()
        gevent.sleep(self.wait_time())

    def on_stop(self) -> None:
        self.buyers.join(timeout=self.environment.stop_timeout)

    def wait_time(self) -> float:
        """Seconds until the next buyer is due, however late the one before was."""
        assert self.environment.runner
        share = self.environment.runner.target_user_count or 1
        self.due += expovariate(_options(self.environment).rate / share)
        return max(0.0, self.due - perf_counter())

    @task
    def arrive(self) -> None:
        self.buyers.spawn(self.buy)

    def buy(self) -> None:
        arrived = perf_counter()
        run.bought += 1
        outcome = self.outcome()
        run.outcomes[outcome] += 1
        self.environment.events.request.fire(
            request_type="",
            name="from the purchase to its outcome",
            response_time=1_000 * (perf_counter() - arrived),
            response_length=0,
            exception=None if outcome in {"confirmed", "out_of_stock"} else ValueError(outcome),
            context={},
        )

    def outcome(self) -> str:
        with self.client.post(
            "/purchases", json={"product_id": run.product_id}, name="buy", catch_response=True
        ) as answer:
            if answer.status_code != 202:
                answer.failure(f"{answer.status_code}: 202 was due")
                return "not accepted"
            purchase = answer.json()
        for _ in range(POLLS):
            with self.client.get(
                f"/purchases/{purchase['request_id']}?wait={POLL_S}",
                name="poll",
                catch_response=True,
            ) as answer:
                if answer.status_code != 200:
                    answer.failure(f"{answer.status_code}: 200 was due")
                    continue
                purchase = answer.json()
            if purchase["status"] == "failed":
                return str(purchase["failure"]["code"])
            if purchase["status"] == "confirmed":
                return "confirmed" if purchase.get("order_id") else "confirmed without an order"
        return "pending"


def _positive(text: str) -> float:
    if (number := float(text)) <= 0:
        raise ArgumentTypeError(f"{text} is not more than 0")
    return number


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--rate", type=_positive, default=20.0, help="purchases per second")
    parser.add_argument("--stock", type=int, default=500, help="units on the shelf")
    parser.add_argument(
        "--patience", type=float, default=10.0, help="seconds for outcomes after the last purchase"
    )
    parser.add_argument(
        "--token",
        default="",
        env_var="EVENTDEMO_OPERATOR_TOKEN",
        is_secret=True,
        help="the operator's token, if the system has one",
    )


@events.test_start.add_listener
def _fill_the_shelf(environment: Environment, **_: Any) -> None:
    run.begin()
    options = _options(environment)
    environment.stop_timeout = options.patience
    operator = _session(environment)
    operator.headers["Authorization"] = f"Bearer {options.token}"
    product = f"/products/{run.product_id}"
    registered = operator.put(
        product, json={"name": "Load test", "price_cents": 100}, name="register the product"
    )
    filled = operator.post(
        f"{product}/stock", json={"quantity": options.stock}, name="put units on the shelf"
    )
    if not (registered.ok and filled.ok):
        assert environment.runner
        gevent.spawn(environment.runner.quit)


@events.test_stop.add_listener
def _compare_with_the_stock(environment: Environment, **_: Any) -> None:
    with _session(environment).get(
        f"/products/{run.product_id}", name="stock at the end", catch_response=True
    ) as answer:
        if answer.ok and (flaws := run.compare(_options(environment).stock, answer.json())):
            answer.failure("; ".join(flaws))


def _session(environment: Environment) -> HttpSession:
    return HttpSession(
        environment.host or Arrivals.host, request_event=environment.events.request, user=None
    )


def _options(environment: Environment) -> Namespace:
    options: Namespace | None = environment.parsed_options
    assert options
    return options
