"""CloudFormation's language: the parts of it that the template needs, and its rendering as text."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

Properties = Mapping[str, Any]
Resources = dict[str, dict[str, Any]]

#: The prefix of names in the template: ``Names(PREFIX)`` gives texts for ``sub``.
PREFIX = "${Prefix}"


def logical_id(*words: str) -> str:
    """Joins words to an id: ``purchase_task`` and ``queue`` give ``PurchaseTaskQueue``."""
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
    """Returns a resource; ``attributes`` stand beside its properties, such as ``Condition``."""
    return {"Type": f"AWS::{kind}", **attributes, "Properties": dict(properties)}


def metric(
    label: str, namespace: object, name: str, dimensions: Mapping[str, object], **statistic: object
) -> dict[str, Any]:
    """Returns a metric that an expression reads; ``statistic`` is its ``Stat`` and ``Period``."""
    identity: dict[str, Any] = {"Namespace": namespace, "MetricName": name}
    if dimensions:
        identity["Dimensions"] = [{"Name": k, "Value": value} for k, value in dimensions.items()]
    return {"Id": label, "MetricStat": {"Metric": identity, **statistic}, "ReturnData": False}


def allow(
    actions: Sequence[str], resources: Sequence[object], condition: Properties | None = None
) -> dict[str, Any]:
    """Returns a statement of an IAM policy."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement


def allow_service(
    principal: str, actions: Sequence[str], target: object, condition: Properties
) -> dict[str, Any]:
    """Returns a statement of a resource's own policy, for one service of AWS."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": principal},
        "Action": list(actions),
        "Resource": target,
        "Condition": condition,
    }


def policy(*statements: Properties) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


class _Dumper(yaml.SafeDumper):
    """Writes CloudFormation's functions in their short form, such as ``!Ref Prefix``."""

    def ignore_aliases(self, data: object) -> bool:
        return True  # a value that stands in several places is written out in each


def _mapping(dumper: yaml.SafeDumper, data: dict[str, Any]) -> yaml.Node:
    match data:
        case {"Ref": str(name), **rest} if not rest:
            return dumper.represent_scalar("!Ref", name)
        case {"Condition": str(name), **rest} if not rest:
            return dumper.represent_scalar("!Condition", name)
        case {"Fn::Sub": str(text), **rest} if not rest:
            return dumper.represent_scalar("!Sub", text)
        case {"Fn::GetAtt": [name, attribute], **rest} if not rest:
            return dumper.represent_scalar("!GetAtt", f"{name}.{attribute}")
    function = next(iter(data), "")
    if function.startswith("Fn::"):
        return dumper.represent_sequence(f"!{function.removeprefix('Fn::')}", data[function])
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items())


_Dumper.add_representer(dict, _mapping)


def as_yaml(template: Mapping[str, Any]) -> str:
    return yaml.dump(dict(template), Dumper=_Dumper, sort_keys=False, width=100)


def as_json(template: Mapping[str, Any]) -> str:
    return json.dumps(template, indent=2)


def as_body(template: Mapping[str, Any]) -> str:
    """Renders the template as short as can be, for the API."""
    return json.dumps(template, separators=(",", ":"))
