"""How topics, queues and tables are called in AWS, all behind one prefix.

Adapters and deployment template read these, so that neither can miss what the other means.
"""

from msgspec import Struct

#: The attribute after whose time, in seconds since 1970, DynamoDB may remove an item.
EXPIRES_AT = "expires_at"

#: What FIFO queues and topics have to be called.
FIFO = ".fifo"


class Names(Struct, frozen=True):
    """The names of one deployment."""

    prefix: str

    def topic(self, topic: str) -> str:
        """The FIFO topic that carries the messages of a topic of the flow."""
        return f"{self.prefix}-{topic}{FIFO}"

    def queue(self, service: str) -> str:
        """The FIFO queue of a service, subscribed to what it hears."""
        return f"{self.prefix}-{service}{FIFO}"

    def retries(self, service: str) -> str:
        """The standard queue of a service's messages that are to be handled again."""
        return f"{self.prefix}-{service}-retries"

    def dead(self, queue: str) -> str:
        """The dead-letter queue of a queue, which is FIFO if that is."""
        return f"{queue.removesuffix(FIFO)}-dead{FIFO if queue.endswith(FIFO) else ''}"

    @property
    def wake(self) -> str:
        """The standard topic that tells subscribers over HTTP that a service has work."""
        return f"{self.prefix}-wake"

    @property
    def purchases(self) -> str:
        """The table of accepted purchases, their paths and dead letters."""
        return f"{self.prefix}-purchases"

    @property
    def events(self) -> str:
        """The table of the event pool."""
        return f"{self.prefix}-events"

    @property
    def session(self) -> str:
        """The table of the session cache."""
        return f"{self.prefix}-session"
