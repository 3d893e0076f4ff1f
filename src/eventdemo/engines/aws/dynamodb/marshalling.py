"""Keys, attributes and conditions as DynamoDB's API writes them."""

from collections.abc import Mapping
from typing import Any

from eventdemo.engines.aws.dynamodb.table import Action, Attributes, Delete, Key, Put, Update, Value

#: What the keys of every table are called.
PARTITION, SORT = "pk", "sk"

Wire = dict[str, Any]

_ABSENT = f"attribute_not_exists({PARTITION})"
_PRESENT = f"attribute_exists({PARTITION})"


def value_to_wire(value: Value) -> Wire:
    match value:
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case int():
            return {"N": str(value)}


def value_from_wire(wire: Mapping[str, Any]) -> Value:
    """Returns one attribute's value; raises ``ValueError`` for types that none of ours has."""
    match wire:
        case {"S": str(text)}:
            return text
        case {"N": str(number)}:
            return int(number)
        case {"B": bytes(data)}:
            return data
    raise ValueError(f"an attribute of type {', '.join(wire)}")


def key_to_wire(key: Key) -> Wire:
    return {PARTITION: {"S": key.partition}, SORT: {"S": key.sort}}


def key_from_wire(wire: Mapping[str, Any]) -> Key:
    """Returns an item's key, out of the key or of the whole item."""
    return Key(wire[PARTITION]["S"], wire[SORT]["S"])


def item_to_wire(key: Key, attributes: Attributes) -> Wire:
    return key_to_wire(key) | {name: value_to_wire(value) for name, value in attributes.items()}


def attributes_from_wire(wire: Mapping[str, Any]) -> Attributes:
    """Returns an item's attributes, without its key."""
    return {
        name: value_from_wire(value)
        for name, value in wire.items()
        if name not in {PARTITION, SORT}
    }


def action_to_wire(action: Action) -> tuple[str, Wire]:
    """Returns an action's name and its parameters, but for the table; they are the same in a
    transaction and alone."""
    match action:
        case Put():
            wire: Wire = {"Item": item_to_wire(action.key, action.attributes)}
            return "Put", wire | ({"ConditionExpression": _ABSENT} if action.absent else {})
        case Delete():
            wire = {"Key": key_to_wire(action.key)}
            return "Delete", wire | ({"ConditionExpression": _PRESENT} if action.present else {})
        case Update():
            return "Update", {"Key": key_to_wire(action.key), **_update_to_wire(action)}


def _update_to_wire(update: Update) -> Wire:
    """Every name and value has a placeholder, so that none can be a reserved word."""
    names = {
        name: f"#n{index}"
        for index, name in enumerate(dict.fromkeys([*update.set, *update.add, *update.expected]))
    }
    values: Wire = {}

    def placed(value: Value) -> str:
        placeholder = f":v{len(values)}"
        values[placeholder] = value_to_wire(value)
        return placeholder

    sets = [f"{names[name]} = {placed(value)}" for name, value in update.set.items()]
    adds = [f"{names[name]} {placed(number)}" for name, number in update.add.items()]
    conditions = [
        f"attribute_not_exists({names[name]})"
        if value is None
        else f"{names[name]} = {placed(value)}"
        for name, value in update.expected.items()
    ]
    clauses = [f"SET {', '.join(sets)}"] * bool(sets) + [f"ADD {', '.join(adds)}"] * bool(adds)
    parameters: Wire = {
        "UpdateExpression": " ".join(clauses),
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": {placeholder: name for name, placeholder in names.items()},
        "ExpressionAttributeValues": values,
    }
    return {name: parameter for name, parameter in parameters.items() if parameter}
