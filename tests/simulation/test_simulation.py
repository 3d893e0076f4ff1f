"""The simulator: no seed breaks a promise, a seed is one run everywhere, and bugs are found."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from eventdemo.cli.app import run
from eventdemo.cli.simulate import run_seeds
from eventdemo.lab.simulation import steps
from eventdemo.lab.simulation.plan import DEPLOYMENTS, plan_of
from eventdemo.lab.simulation.simulate import shorten, simulate
from tests.simulation import mutants
from tests.simulation.mutants import Mutant, decides_the_outcome_twice

SEEDS = 240

DIGESTS = """
from eventdemo.lab.simulation.simulate import simulate
print(*(simulate(seed).digest for seed in range(100, 106)))
"""


def test_no_seed_breaks_a_promise() -> None:
    report = run_seeds(0, SEEDS, os.cpu_count() or 1)
    assert report.failed_seeds == [], "\n".join([*report.broken, *report.trace])
    assert set(report.outcomes) == {
        "confirmed",
        "out_of_stock",
        "unknown_product",
        "product_retired",
        "internal_error",
    }


def test_a_seed_is_the_same_run_in_every_process() -> None:
    """Whatever order Python's sets and dictionaries of strings have there."""
    said = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(said) == 1


def test_a_seed_is_the_same_run_wherever_its_objects_are_in_memory() -> None:
    assert len({simulate(seed).digest for seed in (2, 11, 17) for _ in range(4)}) == 3


def _kinds(step: type[steps.Step]) -> Iterator[type[steps.Step]]:
    for kind in step.__subclasses__():
        yield from _kinds(kind) if kind.__subclasses__() else (kind,)


def test_every_kind_of_fault_meets_every_deployment_it_can_meet() -> None:
    met = Counter(
        (plan.deployment, type(step)) for plan in map(plan_of, range(SEEDS)) for step in plan.steps
    )
    only_remote = {steps.LostAnswer, steps.Repeats}
    for kind in _kinds(steps.Step):
        for deployment in DEPLOYMENTS if kind not in only_remote else ("aws",):
            assert met[deployment, kind], (deployment, kind)


def test_faults_are_felt() -> None:
    """Batches lose races, fail for lack of storage, and are handled twice."""
    lines = "\n".join(line for seed in range(60) for line in simulate(seed).lines)
    for felt in (
        "could not: Conflict",
        "could not: AlreadyHandled",
        "could not: StorageFull",
        "could not: StorageBusy",
        "whether it was done is not known",
        "undecodable",
        "gives up",
        "retries",
    ):
        assert felt in lines, felt


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_deliberate_bug_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert any(simulate(seed).broken for seed in range(mutants.SEEDS)), "no seed found it"


def test_a_failing_run_is_made_short_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    decides_the_outcome_twice(monkeypatch)
    # On AWS's models a step that is left out changes more of the rest.
    runs = (simulate(seed) for seed in range(20) if plan_of(seed).deployment == "embedded")
    failed = next(run for run in runs if run.broken)
    shortest = shorten(failed)
    assert shortest.broken
    assert len(shortest.kept) <= 5
    assert simulate(shortest.seed, shortest.kept).digest == shortest.digest


class TestCommand:
    def test_it_prints_a_short_trace_and_how_to_repeat_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        decides_the_outcome_twice(monkeypatch)
        assert run(["simulate", "--seeds", "8", "--jobs", "1"]) == 1
        said = capsys.readouterr().out
        assert "BROKEN: " in said
        command = next(line for line in said.splitlines() if "repeat it with" in line)
        arguments = command.partition("eventdemo ")[2].split()
        assert run(arguments) == 1
        assert "BROKEN: " in capsys.readouterr().out

    def test_one_seed_is_told_step_by_step(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["simulate", "--seed", "7"]) == 0
        said = capsys.readouterr().out
        assert "order_creation commits" in said
        assert said.rstrip().endswith("every promise was kept")

    @pytest.mark.parametrize("wrong", [["--only", "1"], ["--seed", "1", "--only", "x"]])
    def test_wrong_input_is_refused(
        self, wrong: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["simulate", *wrong]) == 2
        assert "--only" in capsys.readouterr().err
