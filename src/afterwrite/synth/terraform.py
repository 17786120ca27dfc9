"""A template as Terraform, in JSON: the same resources through AWS Cloud Control (the provider `awscc`).

That provider takes its schemas from CloudFormation's, so a resource's properties are the same under other names. What
it does not have, Glue's catalog and facts about the account, comes from the provider `aws`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from afterwrite.synth.document import (
    ACCOUNT,
    PARTITION,
    REGION,
    Attribute,
    Condition,
    Joined,
    JsonObject,
    JsonText,
    Parameter,
    Ref,
    Resource,
    Template,
    When,
)

_FACTS: Final[Mapping[str, str]] = {
    ACCOUNT: "data.aws_caller_identity.current.account_id",
    REGION: "data.aws_region.current.region",
    PARTITION: "data.aws_partition.current.partition",
}
# One before may not know how large the records of a Kinesis stream may be.
_AWSCC: Final = ">= 1.96"
_GLUE_DATABASE: Final = "AWS::Glue::Database"
_GLUE_TABLE: Final = "AWS::Glue::Table"
_QUEUE_POLICY: Final = "AWS::SQS::QueuePolicy"
_TABLE: Final = "AWS::DynamoDB::Table"
_TYPES: Final[Mapping[str, str]] = {
    _GLUE_DATABASE: "aws_glue_catalog_database",
    _GLUE_TABLE: "aws_glue_catalog_table",
    _QUEUE_POLICY: "awscc_sqs_queue_inline_policy",
}
# What CloudFormation's Ref gives; of every other type the identifier, which the provider calls `id`.
_REFERENCES: Final[Mapping[str, str]] = {
    "AWS::Logs::LogStream": "log_stream_name",
    _GLUE_DATABASE: "name",
    _GLUE_TABLE: "name",
}
_MAPS: Final = frozenset(("Variables",))
"""Properties whose keys are names of the user's."""

_INDENT: Final = 2


def render(template: Template) -> str:
    """The configuration's text; the same for the same template, byte by byte."""
    return json.dumps(_Configuration(template).document(), indent=_INDENT, ensure_ascii=False) + "\n"


class _Configuration:
    def __init__(self, template: Template) -> None:
        self._template = template
        self._types = {resource.id: resource.type for resource in template.resources}
        self._conditions = {condition.name: condition for condition in template.conditions}
        self._parameters = {parameter.name for parameter in template.parameters}

    def document(self) -> dict[str, Any]:
        """The whole configuration."""
        template = self._template
        resources: dict[str, dict[str, Any]] = {}
        for resource in template.resources:
            resources.setdefault(_type(resource.type), {})[_name(resource.id)] = self._resource(resource)
        return {
            "//": [template.description, *template.notes],
            "terraform": {
                "required_version": ">= 1.5",
                "required_providers": {
                    "aws": {"source": "hashicorp/aws", "version": ">= 6.0"},
                    "awscc": {"source": "hashicorp/awscc", "version": _AWSCC},
                },
            },
            "variable": {_name(parameter.name): _variable(parameter) for parameter in template.parameters},
            "data": {
                "aws_caller_identity": {"current": {}},
                "aws_region": {"current": {}},
                "aws_partition": {"current": {}},
            },
            "resource": resources,
            "output": {
                _name(output.name): {"description": output.description, "value": self._value(output.value)}
                for output in template.outputs
            },
        }

    def _resource(self, resource: Resource) -> dict[str, Any]:
        properties = dict(resource.properties)
        if resource.type == _QUEUE_POLICY:
            properties["Queue"] = properties.pop("Queues")[0]
        elif resource.type == _TABLE:
            # Its schema is a list or an object, and the provider takes what has alternatives as JSON in a text.
            properties["KeySchema"] = JsonText(properties["KeySchema"])
        elif resource.type == _GLUE_DATABASE:
            properties = dict(properties["DatabaseInput"])
        elif resource.type == _GLUE_TABLE:
            properties = {"DatabaseName": properties["DatabaseName"], **_glue_table(properties["TableInput"])}
        fields = self._fields(properties)
        if resource.depends_on:
            fields["depends_on"] = [f"{_type(self._types[each])}.{_name(each)}" for each in resource.depends_on]
        if resource.retain:
            fields["lifecycle"] = {"prevent_destroy": True}
        return fields

    def _fields(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {
            attribute_name(name): (
                {key: self._value(each) for key, each in value.items()}
                if isinstance(value, Mapping) and (name in _MAPS or not _is_object(value))
                else self._value(value)
            )
            for name, value in properties.items()
        }

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return _literal(value)
            case JsonObject(inner) | JsonText(inner):
                return self._json(inner)
            case Mapping():
                return self._fields(value)
            case list() | tuple():
                return [self._value(each) for each in value]
            case Joined(parts):
                return "".join(self._value(part) for part in parts)
            case Ref() | Attribute() | When():
                return f"${{{self._expression(value)}}}"
            case _:
                return value

    def _json(self, value: Any) -> str:
        """The value as JSON text, references in it as interpolations, which are in text without quotes anyway."""
        return json.dumps(self._interpolated(value), separators=(",", ":"), ensure_ascii=False)

    def _interpolated(self, value: Any) -> Any:
        match value:
            case Mapping():
                return {_literal(name): self._interpolated(each) for name, each in value.items()}
            case list() | tuple():
                return [self._interpolated(each) for each in value]
            case _:
                return self._value(value)

    def _expression(self, value: Any) -> str:
        match value:
            case Ref(name) if name in _FACTS:
                return _FACTS[name]
            case Ref(name) if name in self._parameters:
                return f"var.{_name(name)}"
            case Ref(name):
                attribute = _REFERENCES.get(self._types[name], "id")
                return f"{_type(self._types[name])}.{_name(name)}.{attribute}"
            case Attribute(resource, name):
                return f"{_type(self._types[resource])}.{_name(resource)}.{attribute_name(name)}"
            case When(condition, then, otherwise):
                holds = _condition(self._conditions[condition])
                return f"{holds} ? {self._expression(then)} : {self._expression(otherwise)}"
            case list() | tuple():
                return f"[{', '.join(map(self._expression, value))}]"
            case None:
                return "null"
            case bool() | int() | float():
                return json.dumps(value)
            case _:
                return f'"{self._value(value)}"'


def _is_object(value: Mapping[str, Any]) -> bool:
    """Whether the keys are properties of a schema, which begin with a capital; a map's are the user's."""
    return all(key[:1].isupper() for key in value)


def _condition(condition: Condition) -> str:
    operator = "!=" if condition.negated else "=="
    return f'var.{_name(condition.parameter)} {operator} "{condition.value}"'


def _variable(parameter: Parameter) -> dict[str, Any]:
    name = f"var.{_name(parameter.name)}"
    fields: dict[str, Any] = {
        "type": "number" if parameter.is_number else "string",
        "description": parameter.description,
    }
    if parameter.default is not None:
        fields["default"] = parameter.default
    checks = [
        (f"contains({json.dumps(list(parameter.allowed_values))}, {name})", "one of the allowed values")
        for _ in [parameter.allowed_values]
        if parameter.allowed_values
    ]
    if parameter.allowed_pattern is not None:
        checks.append((f"can(regex({json.dumps(parameter.allowed_pattern)}, {name}))", parameter.allowed_pattern))
    if parameter.length_max is not None:
        checks.append((f"length({name}) <= {parameter.length_max}", f"at most {parameter.length_max} characters"))
    if parameter.least is not None and parameter.most is not None:
        checks.append(
            (f"{name} >= {parameter.least} && {name} <= {parameter.most}", f"{parameter.least} to {parameter.most}")
        )
    if checks:
        fields["validation"] = [
            {"condition": f"${{{condition}}}", "error_message": f"Expected {expected}."}
            for condition, expected in checks
        ]
    return fields


def _glue_table(table: Mapping[str, Any]) -> dict[str, Any]:
    storage = dict(table["StorageDescriptor"])
    storage["SerDeInfo"] = storage.pop("SerdeInfo")
    return {**table, "StorageDescriptor": storage}


def _type(cloudformation: str) -> str:
    if cloudformation in _TYPES:
        return _TYPES[cloudformation]
    _, service, resource = cloudformation.split("::")
    return f"awscc_{service.lower()}_{attribute_name(resource)}"


def _name(id: str) -> str:
    return attribute_name(id.replace("MiB", "Mib"))


def attribute_name(name: str) -> str:
    """A property's name as the provider has it: `SSESpecification` is `sse_specification`, `SizeInMBs` `size_in_m_bs`.

    A word ends before a capital that follows a small letter or a digit, or that a small letter follows; and before a
    digit that follows a small letter.
    """
    name = name.replace("CloudWatch", "Cloudwatch")
    return re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _literal(text: str) -> str:
    return text.replace("${", "$${").replace("%{", "%%{")
