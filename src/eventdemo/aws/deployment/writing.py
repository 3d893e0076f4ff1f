"""The template as text: for people, for programs, and as short as can be for the API."""

import json
from collections.abc import Mapping
from typing import Any

import yaml


class _Short(yaml.SafeDumper):
    """Writes CloudFormation's functions in their short form, such as ``!Ref Prefix``."""

    def ignore_aliases(self, data: object) -> bool:
        return True  # what stands in several places is written out in each


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


_Short.add_representer(dict, _mapping)


def as_yaml(template: Mapping[str, Any]) -> str:
    return yaml.dump(dict(template), Dumper=_Short, sort_keys=False, width=100)


def as_json(template: Mapping[str, Any]) -> str:
    return json.dumps(template, indent=2)


def as_body(template: Mapping[str, Any]) -> str:
    return json.dumps(template, separators=(",", ":"))
