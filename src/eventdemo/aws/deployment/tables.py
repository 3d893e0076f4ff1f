"""Tables of the template: event pool, purchases and session cache."""

from typing import Any

from eventdemo.aws.deployment.cloudformation import PREFIX, Resources, ref, resource, sub
from eventdemo.engines.aws.dynamodb.table import EXPIRES_AT
from eventdemo.engines.aws.names import Names

NAMES = Names(PREFIX)

#: What the two parts of an item's key are called in every table.
PARTITION, SORT = "pk", "sk"

EVENTS, PURCHASES, SESSION = "EventsTable", "PurchasesTable", "SessionTable"

_EXPIRY = {"TimeToLiveSpecification": {"AttributeName": EXPIRES_AT, "Enabled": True}}


def tables() -> Resources:
    """The tables by their logical ids; what expires does so nowhere but in the last two."""
    return {
        EVENTS: _table(NAMES.events, {}),
        PURCHASES: _table(NAMES.purchases, _EXPIRY),
        SESSION: _table(NAMES.session, _EXPIRY),
    }


def _table(name: str, more: dict[str, Any]) -> dict[str, Any]:
    # With deletion protection a table stays when its stack is deleted, and the deletion fails:
    # `eventdemo aws destroy` lifts it when it was told to.
    key = {PARTITION: "HASH", SORT: "RANGE"}
    return resource(
        "DynamoDB::Table",
        {
            "TableName": sub(name),
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in key],
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in key.items()],
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "SSESpecification": {"SSEEnabled": True},
            "DeletionProtectionEnabled": ref("DeletionProtection"),
            **more,
        },
        UpdateReplacePolicy="Retain",
        DeletionPolicy="Delete",
    )
