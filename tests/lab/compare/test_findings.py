"""What is concluded from rounds: ratios with intervals, hits and misses, and never too much."""

from pathlib import Path

import msgspec
import pytest

from eventdemo.errors import Misconfigured
from eventdemo.lab.compare.comparison import ComparisonPlan
from eventdemo.lab.compare.contender import AS_WRITTEN
from eventdemo.lab.compare.findings import OURS, findings, verdicts
from eventdemo.lab.compare.intervals import ratio, variation
from eventdemo.lab.compare.measures import Clock, RunMeasures
from eventdemo.lab.compare.meter import Cost
from eventdemo.lab.compare.report.page import answer, write_report
from eventdemo.lab.compare.results import ComparedRun, Results, RunKey, this_machine
from eventdemo.lab.compare.rows import CONTENDERS
from eventdemo.lab.compare.scenarios import SCENARIOS, scenario
from eventdemo.lab.compare.state import RunReceipt

CAPACITY = scenario("capacity")
HOT = CAPACITY.points[0].label
TITLES = {contender.name: contender.title for contender in CONTENDERS}


def run_of(contender: str, round_: int, decided_per_s: float, **counts: int) -> ComparedRun:
    measures = RunMeasures(
        loop="closed",
        offered_per_s=None,
        seconds=3,
        sent=1_000,
        accepted=1_000,
        refused={},
        accepted_per_s=decided_per_s,
        decided_per_s=decided_per_s,
        accept=Clock.of([0.001, 0.002]),
        decide=None,
        contender=Cost(1.0, 0, 0),
        servers=Cost(),
        generator_cpu_s=0.1,
        generator_late_p99_ms=0.1,
        flushes=100,
        receipt=RunReceipt(
            orders=1_000, failed=0, units_sold=1_000, units_left=0, anomalies={}, counts=counts
        ),
    )
    key = RunKey(CAPACITY.name, HOT, contender, "as written", round_)
    return ComparedRun(key=key, at="2026-01-01T00:00:00+00:00", measures=measures)


def test_the_interval_of_a_ratio_holds_its_median_and_narrows_with_agreement() -> None:
    agreeing = ratio([20.0, 20.2, 19.9, 20.1] * 3, [10.0] * 12)
    scattered = ratio([10.0, 30.0, 15.0, 25.0] * 3, [10.0] * 12)
    assert agreeing and scattered
    assert agreeing.low <= agreeing.median <= agreeing.high
    assert agreeing.high - agreeing.low < scattered.high - scattered.low
    assert agreeing.differs


def test_no_difference_is_an_answer() -> None:
    level = ratio([10.0, 11.0, 9.0, 10.5, 9.5] * 2, [10.0] * 10)
    assert level and not level.differs
    assert ratio([], []) is None
    assert variation([5.0]) == 0.0


def test_rounds_are_compared_in_pairs_so_that_a_slow_hour_favours_nobody() -> None:
    runs = []
    for round_, weather in enumerate((1.0, 0.3, 0.7), 1):
        runs += [run_of(OURS, round_, 6_000 * weather), run_of("monolith", round_, 300 * weather)]
    (monolith,) = [f for f in findings([CAPACITY], runs) if f.contender == "monolith"]
    assert monolith.ratio
    assert monolith.ratio.low == monolith.ratio.high == pytest.approx(20)
    assert monolith.variation > 0.3
    (verdict,) = verdicts([monolith])
    assert verdict.hit


def test_a_miss_is_a_miss() -> None:
    runs = [run_of(OURS, 1, 6_000), run_of("monolith", 1, 3_000)]
    (verdict,) = verdicts(findings([CAPACITY], runs))
    assert not verdict.hit


def test_failed_runs_and_anomalies_are_kept_and_shown(tmp_path: Path) -> None:
    key = RunKey(CAPACITY.name, HOT, "celery", "as written", 1)
    runs = [
        run_of(OURS, 1, 6_000),
        run_of("monolith", 1, 300, oversold=2),
        ComparedRun(key=key, at="", failed="redis-server is <not> installed"),
    ]
    found = {finding.contender: finding for finding in findings([CAPACITY], runs)}
    assert found["monolith"].anomalies == {"oversold": 2}
    assert found["celery"].figure is None
    page = tmp_path / "report.html"
    write_report(page, "2026-01-01", this_machine(None), SCENARIOS, CONTENDERS, runs)
    html = page.read_text(encoding="utf-8")
    assert "2 oversold" in html
    assert "redis-server is &lt;not&gt; installed" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert len(html.encode()) < 300_000


def test_the_answer_names_who_leads_and_where_this_design_stands() -> None:
    runs = [run_of(OURS, 1, 6_000), run_of("group-commit-asgi", 1, 9_000)]
    found = findings([CAPACITY], runs)
    sentence = answer(CAPACITY, found, TITLES)
    assert sentence.startswith(TITLES["group-commit-asgi"])
    assert "this design has 6,000, place 2 of 2" in sentence


def test_results_are_kept_at_once_and_read_again(tmp_path: Path) -> None:
    machine = this_machine("My Machine!")
    results = Results(tmp_path, "2026-01-01", machine)
    results.add(run_of(OURS, 1, 5_000), "fsync before the answer")
    results.add(run_of(OURS, 1, 6_000), "fsync before the answer")
    again = Results(tmp_path, "2026-01-01", machine)
    assert [run.measures and run.measures.decided_per_s for run in again.runs.values()] == [6_000]
    assert (tmp_path / "2026-01-01" / "my-machine" / f"{OURS}.json").is_file()


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"format": 1'])
def test_a_damaged_file_of_results_is_refused_by_name(tmp_path: Path, text: bytes) -> None:
    folder = tmp_path / "2026-01-01" / "here"
    folder.mkdir(parents=True)
    (folder / "monolith.json").write_bytes(text)
    with pytest.raises(Misconfigured, match=r"monolith\.json"):
        Results(tmp_path, "2026-01-01", this_machine("here"))


def test_results_of_another_format_are_refused(tmp_path: Path) -> None:
    results = Results(tmp_path, "2026-01-01", this_machine("here"))
    results.add(run_of(OURS, 1, 5_000), "fsync before the answer")
    file = results.folder / f"{OURS}.json"
    fields = msgspec.json.decode(file.read_bytes())
    file.write_bytes(msgspec.json.encode(fields | {"format": 2}))
    with pytest.raises(Misconfigured, match="format 2"):
        Results(tmp_path, "2026-01-01", this_machine("here"))


def test_contenders_are_measured_in_all_modes_where_a_scenario_asks_for_them() -> None:
    monolith = next(row for row in CONTENDERS if row.name == "monolith")
    full = ComparisonPlan([CAPACITY, scenario("idle")], [monolith], rounds=1, seed=1)
    quick = ComparisonPlan([CAPACITY], [monolith], rounds=1, seed=1, first_modes_only=True)
    modes = [key.mode for key, _, point in full.runs() if point.label == HOT]
    assert modes == list(monolith.modes)
    assert [key.mode for key, *_ in full.runs() if key.scenario == "idle"] == [AS_WRITTEN]
    assert {key.mode for key, *_ in quick.runs()} == {AS_WRITTEN}


def test_in_every_round_contenders_take_turns_in_another_order_that_the_seed_repeats() -> None:
    plan = ComparisonPlan([CAPACITY], CONTENDERS, rounds=6, seed=1, first_modes_only=True)
    orders = {
        tuple(k.contender for k, _, p in plan.runs() if p.label == HOT and k.round == round_)
        for round_ in range(1, 7)
    }
    assert len(orders) == 6
    assert all(sorted(order) == sorted(row.name for row in CONTENDERS) for order in orders)
    again = ComparisonPlan([CAPACITY], CONTENDERS, rounds=6, seed=1, first_modes_only=True)
    assert [key for key, *_ in plan.runs()] == [key for key, *_ in again.runs()]
