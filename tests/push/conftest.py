"""A service that signs messages, for each test."""

import pytest

from tests.push.sns import Sns


@pytest.fixture
def sns() -> Sns:
    return Sns()
