"""The tests, as packages, so that they can share helpers, which assert as tests do."""

import pytest

pytest.register_assert_rewrite("tests.flow.driving")
