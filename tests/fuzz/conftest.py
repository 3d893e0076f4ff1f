"""The servers of the API's tests."""

from tests.api.conftest import start

__all__ = ["start"]
