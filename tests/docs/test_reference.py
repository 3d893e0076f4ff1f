"""The reference says what the code says."""

import asyncio
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from eventdemo import errors
from eventdemo.api.problems import PROBLEM_TYPES
from eventdemo.facts import FailureCode
from eventdemo.readmodels.rebuild import rebuild
from eventdemo.runtime.samples import add_samples
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import SETTINGS, Settings
from tests.docs.markdown import code_in, section, table
from tests.docs.tables import REFERENCE, TABLES, made


@pytest.fixture(scope="module")
def command_help() -> str:
    """What ``eventdemo --help`` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "eventdemo", "--help"],
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_tables_are_what_the_code_is() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for name in TABLES:
        assert f"<!-- made from the code: {name} -->" in text
    assert text == made(text), "run `python -m tests.docs.tables`"


def test_every_setting_has_a_row_with_its_sources_and_default() -> None:
    rows = table(section(REFERENCE, "Settings"))
    assert [row[1] for row in rows] == [f"`{setting.environment}`" for setting in SETTINGS]
    for setting, (option, _, toml, default, help_) in zip(SETTINGS, rows, strict=True):
        assert option.strip("`") == setting.option or setting.option is None
        assert (toml, default, help_) == (f"`{setting.toml}`", setting.default, setting.help)


def test_every_exit_code_is_listed(command_help: str) -> None:
    listed = {int(row[0]) for row in table(section(REFERENCE, "Exit codes"))}
    said = re.search(r"Exit codes: (.*?)\.", " ".join(command_help.split()))
    assert said
    assert listed == {int(code) for code in re.findall(r"\d+", said[1])}
    assert listed >= {error.exit_code for error in _all_errors(errors.EventdemoError)}


def _all_errors(kind: type[errors.EventdemoError]) -> set[type[errors.EventdemoError]]:
    return {kind}.union(*(_all_errors(each) for each in kind.__subclasses__()))


def test_every_failure_code_is_listed() -> None:
    rows = table(section(REFERENCE, "Outcomes and failure codes"))
    assert [row[0].strip("`") for row in rows] == [code.value for code in FailureCode]


def test_every_problem_type_is_listed() -> None:
    rows = table(section(REFERENCE, "Problem types"))
    assert [row[0].strip("`") for row in rows] == [type_.type for type_ in PROBLEM_TYPES.values()]


def test_every_command_is_listed(command_help: str) -> None:
    listed = [name for row in table(section(REFERENCE, "Commands")) for name in code_in(row[0])]
    known = re.findall(r"^\W ([a-z][a-z-]*) ", command_help, re.MULTILINE)
    assert set(listed) - {"readmodels", "--all"} == set(known)


def test_every_file_of_the_data_folder_is_listed(tmp_path: Path) -> None:
    patterns = [name for row in table(section(REFERENCE, "Files")) for name in code_in(row[0])]
    found = asyncio.run(_files_in_use(tmp_path))
    assert {"eventdemo.db", "eventdemo.queue.db", "readmodels"} <= found
    listed = {name for name in found if any(fnmatch(name, p.rstrip("/")) for p in patterns)}
    assert found == listed


async def _files_in_use(folder: Path) -> set[str]:
    settings = Settings(data=folder)
    engine = await open_engine(settings)
    try:
        await add_samples(engine.pool)
        await rebuild(engine.pool, settings.read_models, lambda position, head: None)
        return {path.name for path in folder.iterdir()}
    finally:
        await engine.close()
