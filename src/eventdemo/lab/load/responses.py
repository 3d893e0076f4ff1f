"""What a load run reads of the API's answers: no more than it needs, at the speed of the load."""

import msgspec
from msgspec import Struct

from eventdemo.flow import SESSION_CACHE


class Counts(Struct, frozen=True):
    """What the flow has done since the system began, and what it has yet to do, at one moment."""

    confirmed: int = 0
    failed: int = 0
    open: int = 0

    @property
    def decided(self) -> int:
        return self.confirmed + self.failed


class Accepted(Struct):
    """The 202."""

    request_id: str


class Failure(Struct):
    """Why a purchase failed, by its code."""

    code: str


class Status(Struct):
    """Where a purchase stands."""

    status: str
    failure: Failure | None = None


class _Hop(Struct):
    service: str
    says: list[str]
    waiting: int
    in_flight: int
    done: int


class _Flow(Struct):
    hops: list[_Hop]


class _Problem(Struct):
    detail: str


read_accepted = msgspec.json.Decoder(Accepted).decode
read_status = msgspec.json.Decoder(Status).decode
_read_flow = msgspec.json.Decoder(_Flow).decode
_read_problem = msgspec.json.Decoder(_Problem).decode


def read_counts(answer: bytes) -> Counts:
    """The counts of ``GET /flow``: what the services that tell the buyer have done."""
    hops = _read_flow(answer).hops
    last = {hop.service: hop.done for hop in hops if str(SESSION_CACHE) in hop.says}
    confirmed = last.pop("order_creation", 0)
    to_do = sum(hop.waiting + hop.in_flight for hop in hops)
    return Counts(confirmed, sum(last.values()), to_do)


def reason(status: int, answer: bytes) -> str:
    """Why a request failed, in words."""
    if status == 0:
        return answer.decode()
    try:
        return f"{status}: {_read_problem(answer).detail}"
    except msgspec.MsgspecError:
        return str(status)
