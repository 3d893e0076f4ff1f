"""The AWS engine on what the environment names, for the suites that run over every adapter."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eventdemo.engines.aws.names import Names
from eventdemo.ports import Engine
from eventdemo.runtime.wiring import open_engine
from eventdemo.settings import Settings
from tests.emulators.deployments import deploy, remove
from tests.emulators.servers import Aws

#: Where a test's processes find the prefix of its deployment.
_FILE = "aws-prefix"


@contextmanager
def deployed(aws: Aws, folder: Path) -> Iterator[str]:
    """A deployment with a prefix of its own, which the folder's file tells."""
    prefix = f"eventdemo-test-{secrets.token_hex(6)}"
    folder.joinpath(_FILE).write_text(prefix, encoding="utf-8")
    try:
        deploy(aws, prefix)
        yield prefix
    finally:
        remove(aws, prefix)


def settings_for(folder: Path) -> Settings:
    """The three URLs of the deployment that the folder names."""
    prefix = folder.joinpath(_FILE).read_text(encoding="utf-8")
    names = Names(prefix)
    return Settings(
        data=folder,
        event_pool=f"dynamodb://{names.events}",
        topics=f"aws://{prefix}",
        session_cache=f"dynamodb://{names.session}",
    )


async def open_emulated(folder: Path) -> Engine:
    """An engine as a process of its own would have it."""
    return await open_engine(settings_for(folder))
