"""What moto's DynamoDB passes over: a transaction that is repeated with its token is done once."""

import json
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.dynamodb.responses import DynamoHandler


def apply() -> None:
    """Patches moto in this process. One DynamoDB request has to be handled at a time."""
    handler: Any = DynamoHandler
    handler.transact_write_items = _once(handler.transact_write_items)


def _once(transact: Any) -> Any:
    done: dict[str, int] = {}

    def transact_write_items(self: DynamoHandler) -> Any:
        token = self.body.get("ClientRequestToken")
        asked = hash(json.dumps(self.body["TransactItems"], sort_keys=True, default=repr))
        if token in done:
            if done[token] != asked:
                raise JsonRESTError("IdempotentParameterMismatchException", "another request")
            return ActionResult({})
        answer = transact(self)
        if token:
            done[token] = asked
        return answer

    return transact_write_items
