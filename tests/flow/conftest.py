"""Helpers here assert as tests do, so that a failure shows what was compared."""

import pytest

pytest.register_assert_rewrite("tests.flow.driving")
