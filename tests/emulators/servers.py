"""AWS for the tests: emulators on this machine, or the account that the environment names."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import NoRegionError
from msgspec import Struct

from tests.emulators.lacks import LOCALSTACK, MOTO
from tests.emulators.processes import ROOT, started
from tests.servers.shared import shared

#: LocalStack takes twelve digits for the account; moto's account is this one.
ACCOUNT = "123456789012"
REGION = "eu-central-1"

#: Where `make .venv/.localstack` puts LocalStack, if there is a Python for it.
_LOCALSTACK = ROOT / ".venv" / "localstack" / "bin" / "python"


def localstack_is_there() -> bool:
    return _LOCALSTACK.exists()


#: Set where the tests are to use the account that the SDK finds.
ASKED_FOR_ACCOUNT = "TEST_EVENTDEMO_AWS"


class Aws(Struct, frozen=True):
    """Where AWS is, and who plays SQS and SNS. ``environment`` is what names it to whoever uses
    it, beyond what this process was started with."""

    environment: Mapping[str, str]
    account: str
    region: str
    messaging: str
    emulated: bool = True

    def client(self, service: str) -> Any:
        """A boto3 client, the same one for all who ask. That an emulator fails is shown at once."""
        attempts = 1 if self.emulated else 8
        return _client(service, self.region, attempts, tuple(self._place(service).items()))

    def endpoint(self, service: str) -> str:
        name = f"AWS_ENDPOINT_URL_{service.upper()}"
        return self.environment.get(name, self.environment["AWS_ENDPOINT_URL"])

    def _place(self, service: str) -> dict[str, str]:
        if not self.environment:
            return {}
        return {
            "endpoint_url": self.endpoint(service),
            "aws_access_key_id": self.environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.environment["AWS_SECRET_ACCESS_KEY"],
        }


@cache
def _client(service: str, region: str, attempts: int, place: tuple[tuple[str, str], ...]) -> Any:
    config = Config(
        max_pool_connections=32, retries={"total_max_attempts": attempts, "mode": "standard"}
    )
    return boto3.client(service, region_name=region, config=config, **dict(place))


@contextmanager
def opened(shared_in: Path | None = None) -> Iterator[Aws]:
    """AWS for this process and for those it starts: their environment names it."""
    if os.environ.get(ASKED_FOR_ACCOUNT):
        yield account()
        return
    with pytest.MonkeyPatch.context() as patch, emulated(shared_in=shared_in) as aws:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        yield aws


def account() -> Aws:
    """The account that the SDK finds, which has to answer."""
    session = boto3.Session()  # the one that boto3 keeps may remember others' credentials
    region = os.environ.get("AWS_REGION") or session.region_name
    if not region:
        raise NoRegionError
    identity = session.client("sts", region_name=region).get_caller_identity()
    emulated = any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ)
    return Aws({}, identity["Account"], region, "AWS", emulated)


@contextmanager
def emulated(messaging: str = "", shared_in: Path | None = None) -> Iterator[Aws]:
    """DynamoDB and all else from moto; SQS and SNS from LocalStack where it is installed, or from
    the one that is asked for.

    Processes that name the same folder have the same LocalStack: it starts slowly, and is a match
    for several. moto is not: its SQS loses and repeats messages when many talk to it at once.
    """
    messaging = messaging or (LOCALSTACK if localstack_is_there() else MOTO)

    def start_localstack(servers: ExitStack) -> str:
        if shared_in:
            return shared(shared_in, LOCALSTACK, localstack_server)
        return servers.enter_context(localstack_server())

    with ExitStack() as servers, ThreadPoolExecutor() as threads:
        localstack = threads.submit(start_localstack, servers) if messaging == LOCALSTACK else None
        moto = servers.enter_context(moto_server())
        queues = localstack.result() if localstack else moto
        environment = {
            "AWS_ENDPOINT_URL": moto,
            "AWS_ENDPOINT_URL_DYNAMODB": moto,
            "AWS_ENDPOINT_URL_SNS": queues,
            "AWS_ENDPOINT_URL_SQS": queues,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            # What a developer has for a real account stays out of it.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        yield Aws(environment, ACCOUNT, REGION, messaging)


@contextmanager
def moto_server() -> Iterator[str]:
    """The URL of moto's server."""
    with tempfile.TemporaryDirectory(prefix="moto-") as folder:
        command = (sys.executable, "-m", "tests.emulators.moto_app")
        with started(command, os.environ, Path(folder, "log")) as port:
            yield f"http://127.0.0.1:{port}"


@contextmanager
def localstack_server() -> Iterator[str]:
    """The URL of LocalStack's SQS and SNS."""
    app = str(Path(__file__).with_name("localstack_app.py"))
    with tempfile.TemporaryDirectory(prefix="localstack-", ignore_cleanup_errors=True) as folder:
        # What is set for AWS or for another LocalStack is not meant for this one.
        mine = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        mine["TMPDIR"] = folder
        with started((str(_LOCALSTACK), app, folder), mine, Path(folder, "log")) as port:
            yield f"http://127.0.0.1:{port}"
