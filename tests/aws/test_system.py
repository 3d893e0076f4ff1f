"""Purchases over HTTP, decided by workers that share nothing but AWS."""

from tests.aws.conftest import OnAws
from tests.faults.test_kill import kill


def test_purchases_are_decided_and_the_audit_is_clean(on_aws: OnAws) -> None:
    on_aws.serve()
    on_aws.start("work", "--all")
    on_aws.stock("lamp", 20)
    on_aws.stock("vase", 100)
    on_aws.buy("lamp", 30)
    on_aws.buy("vase", 10)
    receipt = on_aws.all_is_well({"lamp": 20, "vase": 100})
    assert (receipt.accepted, receipt.confirmed, receipt.failed) == (40, 30, 10)
    orders = on_aws.client.get("/orders", params={"product_id": "lamp"}).json()["orders"]
    assert len(orders) == 20


def test_asking_twice_buys_once(on_aws: OnAws) -> None:
    on_aws.serve()
    on_aws.start("work", "--all")
    on_aws.stock("lamp", 10)
    key = {"Idempotency-Key": "the-same"}
    asked = [
        on_aws.client.post("/purchases", json={"product_id": "lamp"}, headers=key) for _ in range(2)
    ]
    (request_id,) = {answer.json()["request_id"] for answer in asked}
    on_aws.accepted = [request_id]
    assert on_aws.all_is_well({"lamp": 10}).confirmed == 1


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(on_aws: OnAws) -> None:
    on_aws.serve()
    on_aws.stock("lamp", 50)
    on_aws.stock("vase", 1_000)
    worker = on_aws.start("work", "--all")
    on_aws.buy("vase", 1)
    on_aws.outcomes()
    on_aws.buy("lamp", 20)
    kill(worker)
    on_aws.buy("vase", 5)
    on_aws.start("work", "--all")
    on_aws.buy("lamp", 40)
    receipt = on_aws.all_is_well({"lamp": 50, "vase": 1_000})
    assert (receipt.accepted, receipt.confirmed, receipt.failed) == (66, 56, 10)
