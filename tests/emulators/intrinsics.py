"""CloudFormation's functions, as far as the template's stores and topics use them."""

import re
from collections.abc import Mapping
from typing import Any

#: The types whose names and ARNs are known before they are made.
NAMED = {
    "AWS::DynamoDB::Table": ("TableName", "dynamodb", "table/"),
    "AWS::SNS::Topic": ("TopicName", "sns", ""),
    "AWS::SQS::Queue": ("QueueName", "sqs", ""),
}

KINDS = (*NAMED, "AWS::SQS::QueuePolicy", "AWS::SNS::Subscription")


class Resolver:
    """A template's resources of ``KINDS`` with everything in them that depends on the stack
    replaced by what it comes to."""

    def __init__(
        self, template: Mapping[str, Any], parameters: Mapping[str, str], account: str, region: str
    ) -> None:
        given = {name: it.get("Default", "") for name, it in template["Parameters"].items()}
        self._parameters = {**given, **parameters}
        self._place = f"{region}:{account}"
        self.resources: dict[str, Any] = {
            name: it for name, it in template["Resources"].items() if it["Type"] in KINDS
        }

    def properties(self, logical_id: str) -> dict[str, Any]:
        """A resource's properties, resolved."""
        resolved: dict[str, Any] = self._resolve(self.resources[logical_id]["Properties"])
        return resolved

    def arn(self, logical_id: str) -> str:
        """The ARN that a named resource has or will have."""
        _, service, below = NAMED[self.resources[logical_id]["Type"]]
        return f"arn:aws:{service}:{self._place}:{below}{self._name(logical_id)}"

    def _name(self, logical_id: str) -> str:
        resource = self.resources[logical_id]
        name: str = self._resolve(resource["Properties"][NAMED[resource["Type"]][0]])
        return name

    def _resolve(self, value: Any) -> Any:
        match value:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{(\w+)\}", lambda found: self._ref(found[1]), text)
            case {"Fn::GetAtt": [name, "Arn"]}:
                return self.arn(name)
            case dict():
                unknown = [name for name in value if name.startswith("Fn::")]
                if unknown:
                    raise NotImplementedError(f"{unknown} in the template's stores and topics")
                return {name: self._resolve(it) for name, it in value.items()}
            case list():
                return [self._resolve(it) for it in value]
        return value

    def _ref(self, name: str) -> Any:
        if name in self._parameters:
            return _typed(self._parameters[name])
        if self.resources[name]["Type"] == "AWS::SNS::Topic":
            return self.arn(name)
        return self._name(name)


def _typed(text: str) -> object:
    return {"true": True, "false": False}.get(text, text)
