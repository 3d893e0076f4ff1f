"""At how many orders per second each quota binds."""

import re
from math import ceil

from msgspec import Struct

from benchmarks.aws import prices
from benchmarks.aws.prices import Figure
from benchmarks.aws.usage import NAMES, TABLES, Usage
from eventdemo.engines.aws.sqs.encoding import GROUPS
from eventdemo.flow import FLOW

#: How long one call takes, assumed: a transaction, and a call of SNS, SQS or a read.
TRANSACTION_S, CALL_S = 0.02, 0.01

#: Reservations of one product that one transaction holds: a cause and a purchase each, and with
#: them the product and the outbox.
RESERVATIONS_PER_TRANSACTION = (int(prices.TRANSACTION_ITEMS.value) - 2) // 2


class Limit(Struct, frozen=True):
    """A quota, and the orders per second at which it binds."""

    what: str
    orders_per_s: float


def limits(usage: Usage, *, hot: bool) -> list[Limit]:
    """What binds, the first first."""
    found = [
        Limit("SNS: messages of the account", _most(prices.SNS_MESSAGES, usage.each("published"))),
        Limit("SQS: calls of one kind to a queue", _most(prices.SQS_CALLS, _busiest(usage))),
        *_tables(usage),
        _partition(usage),
        _groups(usage, hot=hot),
        *([_one_after_another(usage)] if hot else []),
    ]
    return sorted(found, key=lambda limit: limit.orders_per_s)


def _tables(usage: Usage) -> list[Limit]:
    return [
        Limit(
            f"DynamoDB: writes of the table `{table}`, by default",
            _most(prices.TABLE_WRITES, usage.each(f"write units of {table}")),
        )
        for table in TABLES
    ]


def _partition(usage: Usage) -> Limit:
    """The partition that is written most, of those whose number does not grow with orders."""
    partition, units = usage.partitions.most_common(1)[0]
    table, _, name = partition.partition(" ")
    shards = re.sub(r"\d+$", "N", name)
    return Limit(
        f"DynamoDB: writes of the busiest partition `{shards}` of `{table}`",
        _most(prices.PARTITION_WRITES, units / usage.orders),
    )


def _groups(usage: Usage, *, hot: bool) -> Limit:
    """Record batches of one group, which SNS and SQS limit alike; spread over all groups, as evenly
    as many products are."""
    groups = 1 if hot else GROUPS
    where = "the group" if hot else f"{GROUPS} groups"
    return Limit(
        f"SNS and SQS: messages of {where}", groups * _most(prices.SNS_PER_GROUP, _busiest(usage))
    )


def _busiest(usage: Usage) -> float:
    """Record batches per order on the topic that has most of them."""
    return max(usage.each(f"published on {NAMES.topic(row.hears.name)}") for row in FLOW)


def _one_after_another(usage: Usage) -> Limit:
    """One product's reservations are one chain: each transaction begins where the last one ended,
    and of its group one instance has messages at a time."""
    transactions = ceil(usage.together / RESERVATIONS_PER_TRANSACTION)
    # Messages are received, states read, what comes of them published and settled.
    batch_s = 4 * CALL_S + transactions * TRANSACTION_S
    return Limit("time: a product's batches come one after the other", usage.together / batch_s)


def _most(quota: Figure, each: float) -> float:
    return quota.value / each if each else float("inf")
