"""The tests, as packages, so that they can share ``tests.histories``."""
