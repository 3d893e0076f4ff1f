"""A meter's memory outlives the process that counts, and is shared with the one that shows it."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from eventdemo.errors import Misconfigured
from eventdemo.telemetry import instruments
from eventdemo.telemetry.instruments import COMMIT, DECIDED, INSTRUMENTS, Meter, shared_memory
from eventdemo.telemetry.prometheus import meter_families

#: Counts, says so, and waits to be killed.
COUNTING = """
import sys
from eventdemo.telemetry.instruments import COMMIT, DECIDED, Meter
meter = Meter(int(sys.argv[1]))
meter.add(DECIDED, "confirmed", 2)
meter.observe(COMMIT, "stock_check", 0.003)
print("counted", flush=True)
sys.stdin.read()
"""


def count_and_be_killed(descriptor: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTING, str(descriptor)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[descriptor],
    )
    assert process.stdout
    assert process.stdout.readline() == b"counted\n"
    process.kill()
    process.communicate()


def shown(*meters: Meter) -> dict[str, Metric]:
    return {family.name: family for family in meter_families(meters)}


def value(family: Metric, name: str, **labels: str) -> float:
    (found,) = (s.value for s in family.samples if s.name == name and s.labels == labels)
    return float(found)


def test_what_a_killed_process_counted_is_there_and_its_successor_goes_on() -> None:
    descriptor = shared_memory()
    meter = Meter(descriptor)
    count_and_be_killed(descriptor)
    assert meter.read(DECIDED, "confirmed") == [2]
    count_and_be_killed(descriptor)
    assert meter.read(DECIDED, "confirmed") == [4]
    assert sum(meter.read(COMMIT, "stock_check")[:-1]) == 2


def test_the_meters_of_all_processes_are_added_up() -> None:
    first, second = Meter(), Meter()
    first.add(DECIDED, "confirmed")
    second.add(DECIDED, "confirmed", 2)
    second.add(DECIDED, "out_of_stock")
    decided = shown(first, second)["eventdemo_purchases_decided"]
    name = "eventdemo_purchases_decided_total"
    assert value(decided, name, outcome="confirmed") == 3
    assert value(decided, name, outcome="out_of_stock") == 1


def test_a_histogram_counts_what_is_at_most_each_bound() -> None:
    meter = Meter()
    for seconds in (0.0001, 0.001, 0.0011, 100.0):
        meter.observe(COMMIT, "stock_check", seconds)
    commit = shown(meter)[COMMIT.name]
    of = {"service": "stock_check"}
    assert value(commit, f"{COMMIT.name}_bucket", le="0.0005", **of) == 1
    assert value(commit, f"{COMMIT.name}_bucket", le="0.001", **of) == 2
    assert value(commit, f"{COMMIT.name}_bucket", le="0.0025", **of) == 3
    assert value(commit, f"{COMMIT.name}_bucket", le="+Inf", **of) == 4
    assert value(commit, f"{COMMIT.name}_count", **of) == 4
    assert value(commit, f"{COMMIT.name}_sum", **of) == pytest.approx(100.0022)


def test_every_series_is_there_before_anything_happens() -> None:
    metrics = shown(Meter())
    for instrument in INSTRUMENTS:
        samples = metrics[instrument.name.removesuffix("_total")].samples
        told = {sample.labels.get(instrument.label, "") for sample in samples}
        assert told == set(instrument.values)
        assert all(sample.value == 0 for sample in samples)


def test_names_and_units_are_as_prometheus_wants_them() -> None:
    for instrument in INSTRUMENTS:
        assert instrument.name.startswith("eventdemo_")
        if instrument.bounds:
            assert instrument.name.endswith(("_seconds", "_messages"))
            assert list(instrument.bounds) == sorted(set(instrument.bounds))
        elif instrument.is_time:
            assert instrument.name.endswith("_timestamp_seconds")
        else:
            assert instrument.name.endswith("_total")
    names = {name for name in vars(instruments) if name.isupper() and name[0] != "_"}
    listed = {name for name in names if getattr(instruments, name) in INSTRUMENTS}
    assert listed == {n for n in names if isinstance(getattr(instruments, n), type(DECIDED))}


def test_a_descriptor_of_something_else_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "empty").open("w+") as file, pytest.raises(Misconfigured, match="no metrics"):
        Meter(file.fileno())
    with pytest.raises(Misconfigured, match="descriptor 987 holds no metrics"):
        Meter(987)
