"""Running on an account: nothing is done without one, and nothing is left in it."""

import os
from pathlib import Path

import pytest

from tests.emulators import account
from tests.emulators.engine import PREFIX, RUN, deployed
from tests.emulators.servers import Aws


def test_without_credentials_it_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert account.main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no AWS account to test on (Unable to locate credentials)")


def test_what_a_run_left_is_removed_and_nothing_else(
    aws: Aws, aws_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUN, "left-")
    with deployed(aws, tmp_path) as left:
        assert left.startswith(f"{PREFIX}left-")
        gone = list(account.removed(aws, f"{PREFIX}left-"))
        assert len([name for name in gone if left in name]) == len(gone) > 20
        assert list(account.removed(aws, f"{PREFIX}left-")) == []
    tables = aws.client("dynamodb").list_tables()["TableNames"]
    assert len([table for table in tables if table.startswith(aws_prefix)]) == 3
