"""Group commit on SQLite without a web framework: purchases are decoded by msgspec and answered
in bare ASGI, and all other calls go through Starlette as elsewhere."""

import msgspec
import uuid_utils
from starlette.types import Receive, Scope, Send

from eventdemo.lab.compare.contenders.group_commit_sqlite import SqliteShop
from eventdemo.lab.compare.contenders.payment import PaymentFailed, pay
from eventdemo.lab.compare.contenders.shapes import decision_json, problem_json, read_purchase
from eventdemo.lab.compare.contenders.web import application

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")

_shop = SqliteShop()
_other_calls = application(_shop)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["path"] == "/purchases" and scope["method"] == "POST":
        await _answer(send, *await _buy(await _body(receive)))
    else:
        await _other_calls(scope, receive, send)


async def _buy(body: bytes) -> tuple[int, bytes]:
    try:
        purchase = read_purchase(body)
    except msgspec.ValidationError as error:
        return 422, problem_json(422, str(error))
    except msgspec.DecodeError as error:
        return 400, problem_json(400, str(error))
    request_id = str(uuid_utils.uuid7())
    try:
        await pay(request_id)
    except PaymentFailed as error:
        return 503, problem_json(503, str(error))
    return 200, decision_json(await _shop.buy(request_id, purchase.product_id, purchase.quantity))


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [_JSON if status == 200 else _PROBLEM, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
