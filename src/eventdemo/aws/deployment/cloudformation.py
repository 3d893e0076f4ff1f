"""The few words of CloudFormation's language that the template is written in."""

from collections.abc import Mapping, Sequence
from typing import Any

Properties = Mapping[str, Any]
Resources = dict[str, dict[str, Any]]

#: What names are built on: ``Names(PREFIX)`` gives texts for ``sub``.
PREFIX = "${Prefix}"


def logical_id(*words: str) -> str:
    """``purchase_task`` and ``queue`` together: ``PurchaseTaskQueue``."""
    parts = [part for word in words for part in word.replace("_", "-").split("-")]
    return "".join(part[:1].upper() + part[1:] for part in parts)


def ref(name: str) -> dict[str, str]:
    return {"Ref": name}


def arn(name: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [name, "Arn"]}


def sub(text: str) -> dict[str, str]:
    return {"Fn::Sub": text}


def either(condition: str, this: object, that: object) -> dict[str, list[object]]:
    return {"Fn::If": [condition, this, that]}


NOTHING = ref("AWS::NoValue")


def resource(kind: str, properties: Properties, **attributes: object) -> dict[str, Any]:
    """A resource; ``attributes`` stand beside its properties, such as ``Condition``."""
    return {"Type": f"AWS::{kind}", **attributes, "Properties": dict(properties)}


def allow(
    actions: Sequence[str], resources: Sequence[object], condition: Properties | None = None
) -> dict[str, Any]:
    """A statement of an IAM policy."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement


def allow_service(
    principal: str, actions: Sequence[str], target: object, condition: Properties
) -> dict[str, Any]:
    """A statement of a resource's own policy, for one service of AWS."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": principal},
        "Action": list(actions),
        "Resource": target,
        "Condition": condition,
    }


def policy(*statements: Properties) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}
