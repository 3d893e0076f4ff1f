"""What 1,000 orders cost, by who spends it and by how many are handled together."""

from benchmarks.aws import prices
from benchmarks.aws.prices import MILLION, Figure
from benchmarks.aws.usage import Usage
from eventdemo.aws.deployment.fargate import API_SIZE, WORKER_SIZE
from eventdemo.aws.deployment.template import template
from eventdemo.engines.aws.sqs.context import LeaseSettings
from eventdemo.engines.aws.sqs.subscription import LOOK_AT_DEAD_EVERY_US
from eventdemo.flow import SERVICES

GB = 10**9

#: The buyer's question is one look into the session cache for each order. Deliveries from a topic
#: to a queue are counted as requests to that queue, too, to be on the safe side.
CHARGED: tuple[tuple[str, Figure, str, float], ...] = (
    ("SNS", prices.SNS_PUBLISH, "publishes", MILLION),
    ("SNS", prices.SNS_PUBLISH_GB, "published bytes", GB),
    ("SNS", prices.SNS_DELIVERY, "delivered", MILLION),
    ("SNS", prices.SNS_DELIVERY_GB, "delivered bytes", GB),
    ("SQS", prices.SQS_FIFO, "FIFO requests", MILLION),
    ("SQS", prices.SQS_STANDARD, "standard requests", MILLION),
    ("writes", prices.WRITE_UNITS, "write units", MILLION),
    ("reads", prices.READ_UNITS, "read units", MILLION),
)
KINDS = ("SNS", "SQS", "writes", "reads")

#: How long a function works on one call, assumed; it has half a GB of memory.
LAMBDA_CALL_S, LAMBDA_GB = 0.1, 0.5

#: The services that a confirmed order passes, each of which is called once for those that are
#: handled together.
HOPS = 4


def of_orders(usage: Usage, kind: str, actor: str | None = None, orders: int = 1_000) -> float:
    """US dollars of one kind for so many orders, of one actor or of all."""
    return sum(
        figure.value * usage.each(what, actor) * orders / unit
        for charged, figure, what, unit in CHARGED
        if charged == kind
    )


def total(usage: Usage, actor: str | None = None, orders: int = 1_000) -> float:
    """US dollars for so many orders, without what runs the services."""
    return sum(of_orders(usage, kind, actor, orders) for kind in KINDS)


def of_functions(usage: Usage, orders: int = 1_000) -> float:
    """US dollars of Lambda for so many orders."""
    calls = HOPS * orders / usage.together
    call = prices.LAMBDA_CALLS.value / MILLION
    return calls * (call + LAMBDA_CALL_S * LAMBDA_GB * prices.LAMBDA_GB_S.value)


def of_asking() -> float:
    """US dollars per month of one idle worker of each service: each asks two queues all the time,
    and two dead-letter queues once a minute."""
    polls = 3_600 / LeaseSettings().poll_s
    looks = 3_600 * 1_000_000 / LOOK_AT_DEAD_EVERY_US
    hour = len(SERVICES) * (polls + looks)
    both = prices.SQS_FIFO.value + prices.SQS_STANDARD.value
    return hour * prices.HOURS_PER_MONTH * both / MILLION


def of_alarms() -> float:
    """US dollars per month of the template's alarms, which are charged by metric."""
    alarms = (r for r in template()["Resources"].values() if r["Type"] == "AWS::CloudWatch::Alarm")
    metrics = sum("MetricStat" in m for alarm in alarms for m in alarm["Properties"]["Metrics"])
    return metrics * prices.ALARM_METRIC.value


def of_containers() -> float:
    """US dollars per month of one task of the API and of each service."""
    sizes = [API_SIZE, *[WORKER_SIZE] * len(SERVICES)]
    return of_month(
        sum(int(cpu) for cpu, _ in sizes) / 1_024, sum(int(m) for _, m in sizes) / 1_024
    )


def of_month(vcpus: float, memory_gb: float) -> float:
    """US dollars of containers that run all the time."""
    hour = vcpus * prices.VCPU_HOUR.value + memory_gb * prices.GB_HOUR.value
    return hour * prices.HOURS_PER_MONTH


def of_storage(usage: Usage, orders: int = MILLION) -> float:
    """US dollars per month of keeping the events of so many orders, with their recovery."""
    size_gb = usage.stored_bytes / usage.orders * orders / GB
    return size_gb * (prices.STORAGE_GB.value + prices.BACKUP_GB.value)
