"""Makes the tables of ``docs/aws.md`` from the code: ``python -m tests.docs.aws_tables``."""

from collections.abc import Callable

from benchmarks.aws import costs
from benchmarks.aws.limits import limits
from benchmarks.aws.prices import BALANCER_HOUR, HOURS_PER_MONTH, PRICES, QUOTAS, SECRET, Figure
from benchmarks.aws.usage import ACTORS, ORDERS, Usage, hot, spread
from eventdemo.aws.deployment.parameters import PARAMETERS
from tests.docs.markdown import ROOT
from tests.docs.tables import filled, table_of

PAGE = ROOT / "docs" / "aws.md"

#: How many are handled together where services are told apart.
TYPICAL = 100


def parameters() -> str:
    """What can be chosen."""
    return table_of(
        ("parameter", "default", "what it is"),
        (
            (
                f"`{name}`",
                f"`{each['Default']}`" if each["Default"] != "" else "",
                each["Description"],
            )
            for name, each in PARAMETERS.items()
        ),
    )


def prices() -> str:
    """Every list price."""
    return table_of(
        ("US dollars", "for each", "source", "confirmed"), (_row(figure) for figure in PRICES)
    )


def quotas() -> str:
    """Every quota that could bind."""
    return table_of(("quota", "of", "source", "confirmed"), (_row(figure) for figure in QUOTAS))


def by_batch() -> str:
    """The cost of 1,000 orders by how many are handled together."""
    return table_of(
        (
            "orders",
            "together",
            "write units each",
            "read units each",
            "SNS",
            "SQS",
            "DynamoDB writes",
            "DynamoDB reads",
            "all, $ per 1,000",
            "Lambda would add",
        ),
        (_costs(name, used(together)) for name, used in LOADS for together in ORDERS),
    )


def by_service() -> str:
    """The cost of 1,000 spread orders by who spends it."""
    usage = spread(TYPICAL)
    return table_of(
        (
            "who",
            "write units each",
            "read units each",
            "SNS",
            "SQS",
            "DynamoDB",
            "all, $ per 1,000",
        ),
        (
            (
                f"`{actor}`",
                f"{usage.each('write units', actor):.2f}",
                f"{usage.each('read units', actor):.2f}",
                _money(costs.of_orders(usage, "SNS", actor)),
                _money(costs.of_orders(usage, "SQS", actor)),
                _money(
                    costs.of_orders(usage, "writes", actor) + costs.of_orders(usage, "reads", actor)
                ),
                _money(costs.total(usage, actor)),
            )
            for actor in ACTORS
        ),
    )


def scale() -> str:
    """What binds first, and what then."""
    return table_of(
        ("orders", "together", "first", "orders/s", "then", "orders/s", "then", "orders/s"),
        (
            (name, str(together), *_first(used(together), hot=used is hot))
            for name, used in LOADS
            for together in ORDERS
        ),
    )


def idle() -> str:
    """What a month costs in which nobody buys."""
    return table_of(
        ("what", "$ per month", "compute"),
        (
            (
                "one worker of each service asks its queues",
                f"{costs.of_asking():.2f}",
                "`none`, `fargate`",
            ),
            ("alarms, by metric", f"{costs.of_alarms():.2f}", "all"),
            (
                "one task of the API and of each service",
                f"{costs.of_containers():.2f}",
                "`fargate`",
            ),
            (
                "a load balancer, without what it carries",
                f"{BALANCER_HOUR.value * HOURS_PER_MONTH:.2f}",
                "with `VpcId`",
            ),
            ("the operator's token", f"{SECRET.value:.2f}", "with `VpcId`"),
            ("the events of a million orders", f"{costs.of_storage(spread(TYPICAL)):.2f}", "all"),
        ),
    )


LOADS: tuple[tuple[str, Callable[[int], Usage]], ...] = (("spread", spread), ("one product", hot))

TABLES: dict[str, Callable[[], str]] = {
    "parameters": parameters,
    "prices": prices,
    "quotas": quotas,
    "by_batch": by_batch,
    "by_service": by_service,
    "scale": scale,
    "idle": idle,
}


def made(text: str) -> str:
    """The page with its tables as the code is now."""
    return filled(text, TABLES)


def _row(figure: Figure) -> tuple[str, ...]:
    value = f"{figure.value:,.10f}".rstrip("0").rstrip(".")
    page = figure.source.removeprefix("https://").partition("/")[0]
    return value, figure.what, f"[{page}]({figure.source})", "yes" if figure.checked else "no"


def _costs(name: str, usage: Usage) -> tuple[str, ...]:
    return (
        name,
        str(usage.together),
        f"{usage.each('write units'):.1f}",
        f"{usage.each('read units'):.1f}",
        *(_money(costs.of_orders(usage, kind)) for kind in costs.KINDS),
        _money(costs.total(usage)),
        _money(costs.of_functions(usage)),
    )


def _first(usage: Usage, *, hot: bool) -> list[str]:
    three = limits(usage, hot=hot)[:3]
    return [text for limit in three for text in (limit.what, _round(limit.orders_per_s))]


def _money(dollars: float) -> str:
    return f"{dollars:.4f}"


def _round(number: float) -> str:
    """Two digits that count: nothing here is known better."""
    return f"{float(f'{number:.2g}'):,.0f}"


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
