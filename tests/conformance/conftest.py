"""The parts of the engine under test."""

import pytest

from eventdemo.ports import Engine, EventPool, SessionCache, TaskQueue, Topics
from tests.emulators.engine import LEASE_S
from tests.emulators.servers import Aws


@pytest.fixture
def pool(engine: Engine) -> EventPool:
    return engine.pool


@pytest.fixture
def queue(engine: Engine) -> TaskQueue:
    return engine.queue


@pytest.fixture
def topics(engine: Engine) -> Topics:
    return engine.topics


@pytest.fixture
def cache(engine: Engine) -> SessionCache:
    return engine.cache


@pytest.fixture
def aws_lease_s(request: pytest.FixtureRequest, aws: Aws) -> int:
    """Short only where a test waits until another instance may go on: elsewhere it would be over
    too soon on a busy machine."""
    if not request.node.get_closest_marker("short_lease"):
        return LEASE_S
    return 2 if aws.emulated else 10
