"""Calls AWS's services for the deployment, with errors that fit in one line."""

from typing import Any, Self

from botocore.exceptions import ClientError

from eventdemo.engines.aws.clients import AwsClients
from eventdemo.engines.aws.errors import AWS_ERRORS, Resource
from eventdemo.engines.calls import retrying
from eventdemo.errors import EventdemoError

_INVALID = frozenset({"ValidationError", "ValidationException", "InvalidParameterValue"})


class InvalidCall(EventdemoError):
    """AWS says that a call is invalid; ``args[0]`` is its own sentence."""


class AwsApi:
    """The operations of AWS's services; their clients are opened when they are first needed."""

    def __init__(self, clients: AwsClients, prefix: str) -> None:
        self._clients = clients
        self._prefix = prefix
        self._opened: dict[str, Any] = {}

    @classmethod
    def open(cls, prefix: str) -> Self:
        """Uses the credentials and the region that the SDK finds."""
        return cls(AwsClients(), prefix)

    async def __call__(self, service: str, operation: str, **arguments: Any) -> Any:
        """Returns the answer of an operation. Raises ``InvalidCall``, ``Misconfigured`` or a
        ``StorageError``."""
        if service not in self._opened:
            self._opened[service] = await self._clients.open(service)
        client = self._opened[service]

        async def call() -> Any:
            try:
                return await getattr(client, operation)(**arguments)
            except ClientError as error:
                if error.response["Error"]["Code"] in _INVALID:
                    raise InvalidCall(error.response["Error"]["Message"]) from error
                raise

        resource = Resource("stack", self._prefix, client.meta.region_name, self._prefix)
        return await retrying(call, AWS_ERRORS, resource)

    async def close(self) -> None:
        await self._clients.close()
