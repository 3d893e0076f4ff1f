"""docs/aws.md quotes what the code computes."""

import re
from math import isclose

from benchmarks.aws import costs
from benchmarks.aws.usage import hot, spread
from tests.docs.aws_tables import PAGE, TABLES, TYPICAL, made
from tests.docs.markdown import ROOT

#: Libraries that compress differ by some bytes.
TOLERANCE = 0.05

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def alike(one: str, other: str) -> bool:
    """Whether two pages say the same, and nearly the same numbers."""
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    pairs = zip(numbers_in(one), numbers_in(other), strict=True)
    return all(isclose(a, b, rel_tol=TOLERANCE, abs_tol=0.0002) for a, b in pairs)


def numbers_in(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in _NUMBER.findall(text)]


def test_the_tables_are_what_the_code_computes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in TABLES:
        assert f"<!-- made from the code: {name} -->" in text
    assert alike(text, made(text)), "run `python -m tests.docs.aws_tables`"


def test_the_readme_quotes_the_same_cost() -> None:
    assert f"{costs.total(spread(TYPICAL)) * 100:.1f} cents per 1,000 orders" in " ".join(
        (ROOT / "README.md").read_text().split()
    )


def test_batches_make_orders_cheaper_and_a_hot_product_no_dearer() -> None:
    assert costs.total(spread(100)) < costs.total(spread(10)) < costs.total(spread(1))
    assert costs.total(hot(100)) < costs.total(spread(100))


def test_what_services_spend_adds_up() -> None:
    usage = spread(TYPICAL)
    by_actor = sum(costs.total(usage, actor) for actor in usage.by_actor)
    assert abs(by_actor - costs.total(usage)) < 1e-12
