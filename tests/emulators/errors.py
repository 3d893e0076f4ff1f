"""What can go wrong with an emulator."""


class NotStarted(Exception):
    """A server that the tests need ended before it was ready; its last words follow."""
