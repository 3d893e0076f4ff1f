"""Clients of AWS's services: opened as the SDK is set up, closed together."""

import os
from contextlib import AsyncExitStack
from functools import cache
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import exceptions
from botocore.loaders import create_loader

from eventdemo.errors import Misconfigured

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 10.0

#: So many requests of one client are under way at most; further ones wait for a connection.
MAX_CONNECTIONS = 64


class AwsClients:
    """Opens clients with one set of credentials, found where the SDK looks for them.

    The SDK also reads ``AWS_ENDPOINT_URL`` and ``AWS_ENDPOINT_URL_<SERVICE>``. The region is
    ``AWS_REGION``, else ``AWS_DEFAULT_REGION``, else the profile's.
    """

    def __init__(self) -> None:
        self._session = get_session()
        self._session.register_component("data_loader", _loader())
        self._opened = AsyncExitStack()

    async def open(self, service: str, *, read_timeout_s: float = READ_TIMEOUT_S) -> Any:
        """A client of a service (``dynamodb``, ``sqs``, ``sns``, …). It never tries again by
        itself: ``retrying`` does. Raises ``Misconfigured``."""
        config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            max_pool_connections=MAX_CONNECTIONS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
        )
        try:
            return await self._opened.enter_async_context(
                self._session.create_client(
                    service, region_name=os.environ.get("AWS_REGION") or None, config=config
                )
            )
        except exceptions.NoRegionError as error:
            raise Misconfigured(
                "no AWS region is set: set AWS_REGION, for instance to "
                "eu-central-1, or run 'aws configure'"
            ) from error
        except exceptions.InvalidRegionError as error:
            raise Misconfigured(f"{str(error).rstrip('.')}: correct AWS_REGION") from error
        except exceptions.ProfileNotFound as error:
            raise Misconfigured(
                f"{error}: correct AWS_PROFILE, or run 'aws configure --profile NAME'"
            ) from error
        except (exceptions.BotoCoreError, ValueError) as error:
            raise Misconfigured(
                f"the AWS settings cannot be used ({error}): look at ~/.aws/config and at "
                "environment variables that begin with AWS_"
            ) from error

    async def close(self) -> None:
        """Closes all that was opened; what is under way fails."""
        await self._opened.aclose()


@cache
def _loader() -> Any:
    """Reads the services' descriptions, megabytes of JSON, once for all sessions of the process."""
    return create_loader()
