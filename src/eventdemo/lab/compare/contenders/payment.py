"""The payment that a scenario may demand: one call to a slow service, the same for all."""

import os
from functools import cache

import httpx

#: The service's URL; without one nothing has to be paid.
PAYMENT = os.environ.get("COMPARE_PAYMENT")
#: As patient as the clients of payment services are by default.
TIMEOUT_S = 30.0


class PaymentFailed(Exception):
    """The payment service did not take the payment: nothing was bought."""


async def pay(request_id: str) -> None:
    """Pays for a purchase. Raises ``PaymentFailed``."""
    if PAYMENT is None:
        return
    try:
        response = await _client().post(PAYMENT, json={"request_id": request_id})
    except httpx.HTTPError as error:
        raise PaymentFailed(f"The payment service is away: {error!r}.") from None
    if response.status_code != 200:
        raise PaymentFailed(f"The payment service answered {response.status_code}.")


def pay_blocking(request_id: str) -> None:
    """As ``pay``, for a synchronous program, whose thread waits."""
    if PAYMENT is None:
        return
    try:
        response = _blocking_client().post(PAYMENT, json={"request_id": request_id})
    except httpx.HTTPError as error:
        raise PaymentFailed(f"The payment service is away: {error!r}.") from None
    if response.status_code != 200:
        raise PaymentFailed(f"The payment service answered {response.status_code}.")


@cache
def _client() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits)


@cache
def _blocking_client() -> httpx.Client:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.Client(timeout=TIMEOUT_S, limits=limits)
