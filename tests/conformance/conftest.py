"""The parts of the engine under test."""

import pytest

from eventdemo.ports import Engine, EventPool, SessionCache, TaskQueue, Topics
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
def aws_lease_s(aws: Aws) -> int:
    """Short, because some tests wait until another instance may go on."""
    return 2 if aws.emulated else 10
