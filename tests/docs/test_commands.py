"""The commands of README and docs do what stands below them."""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.commands import Place
from tests.docs.markdown import (
    A_PROCESS_EACH,
    DOCUMENTS,
    NOT_RUN,
    ROOT,
    Block,
    blocks,
    matches,
)

README = ROOT / "README.md"
WITH_COMMANDS = [
    document
    for document in DOCUMENTS
    if any(block.is_run and block.note != A_PROCESS_EACH for block in blocks(document, "bash"))
]

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A system that was started on no data; the README is the first that is read beside it."""
    place = Place(tmp_path_factory.mktemp("clone"))
    with place.process("up") as system:
        place.listens(system)
        place.answers("/products")  # answered by read models, so the worker runs
        yield place


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.name)
def test_every_block_prints_what_stands_below_it(document: Path, up: Place) -> None:
    runnable = [b for b in blocks(document, "bash") if b.is_run and b.note != A_PROCESS_EACH]
    ran = up.run(runnable)
    for block, result in zip(runnable, ran, strict=True):
        assert result.code == 0, f"{block.where} ended with {result.code}: {result.printed}"
        if block.expected is not None:
            assert matches(block.expected, result.printed), f"{block.where}:\n{result.printed}"


@pytest.mark.parametrize(
    "block",
    [b for d in DOCUMENTS for b in blocks(d, "bash") if b.note == A_PROCESS_EACH],
    ids=lambda block: block.where,
)
def test_services_in_processes_of_their_own_decide_a_purchase(place: Place, block: Block) -> None:
    commands = [line.partition("#")[0].split() for line in block.text.splitlines()]
    assert all(name == "eventdemo" for name, *_ in commands)
    with ExitStack() as running:
        for _, *arguments in commands:
            process = running.enter_context(place.process(*arguments))
            if arguments == ["serve"]:
                api = process
        place.listens(api)
        place.answers("/products")  # answered by read models, so their process runs
        place.call("PUT", "/products/sku-9", {"name": "Oak stool", "price_cents": 7_990})
        place.call("POST", "/products/sku-9/stock", {"quantity": 1})
        bought = place.call("POST", "/purchases", {"product_id": "sku-9"}, Prefer="wait=30")
    assert bought["status"] == "confirmed"


def test_a_block_that_is_not_run_says_why() -> None:
    noted = [b for d in DOCUMENTS for b in blocks(d, "bash") if b.note and not b.is_run]
    assert noted
    assert all(block.note.removeprefix(NOT_RUN).strip() for block in noted)
    assert all(
        block.is_run or block.expected is None
        for document in DOCUMENTS
        for block in blocks(document, "bash")
    ), "what is not run can't be shown to print anything"


def test_the_two_first_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    commands = [line for block in blocks(README, "bash")[:1] for line in block.text.splitlines()]
    named = [match[1] for line in commands if (match := re.match(r"make (\w+)", line))]
    assert named == ["up", "test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(named) <= set(targets)
