"""Record batches: a product's order, and limits in messages and bytes."""

from eventdemo.engines.record_batches import by_partition, limited_runs
from tests.conformance.samples import by_product, checks


def test_a_products_messages_share_a_partition_and_stay_in_order() -> None:
    messages = checks(5_000, products=7)
    partitions = by_partition(messages, 4)
    assert set(partitions) <= set(range(4))
    together = [message for partition in partitions.values() for message in partition]
    assert by_product(together) == by_product(messages)
    products = [{m.data.product_id for m in partition} for partition in partitions.values()]
    assert sum(map(len, products)) == 7


def test_products_are_spread_over_all_partitions() -> None:
    assert len(by_partition(checks(10_000, products=10_000), 64)) == 64


def test_runs_keep_the_order_and_both_limits() -> None:
    texts = ["x" * size for size in (3, 4, 3, 9, 1, 1, 1, 1)]
    runs = limited_runs(texts, 3, 10, len)
    assert [[len(text) for text in run] for run in runs] == [[3, 4, 3], [9, 1], [1, 1, 1]]


def test_what_is_larger_than_a_run_may_be_is_a_run_of_its_own() -> None:
    assert limited_runs(["a", "bbbb", "c"], 9, 3, len) == [["a"], ["bbbb"], ["c"]]


def test_runs_without_a_limit_in_bytes_are_cut_by_their_number() -> None:
    assert limited_runs(range(5), 2) == [[0, 1], [2, 3], [4]]
    assert limited_runs([], 2) == []
