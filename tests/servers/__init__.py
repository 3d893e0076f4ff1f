"""Servers that tests start for themselves: private, on loopback, ended with the tests."""
