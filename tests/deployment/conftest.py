"""An account of its own for the tests that deploy: moto, with what its CloudFormation lacks."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.emulators.processes import started
from tests.emulators.servers import ACCOUNT, REGION

PREFIX = "shop"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """An empty account, as the environment of who uses it."""
    log = tmp_path_factory.mktemp("moto") / "log"
    command = (sys.executable, "-m", "tests.emulators.cloudformation")
    with started(command, os.environ, log) as port:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


@pytest.fixture(autouse=True)
def _no_settings_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("EVENTDEMO_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def signed_in(account: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of who may do everything in the account."""
    for name, value in account.items():
        monkeypatch.setenv(name, value)


Client = Callable[[str], Any]


@pytest.fixture
def client(signed_in: None) -> Iterator[Client]:
    """boto3's clients, as a user has them."""
    with ExitStack() as opened:

        def open_client(service: str) -> Any:
            made = boto3.client(service)
            opened.callback(made.close)
            return made

        yield open_client
