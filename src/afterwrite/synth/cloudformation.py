"""A template as CloudFormation, in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml

from afterwrite.core import json_text
from afterwrite.errors import DeclarationError
from afterwrite.synth.document import (
    Attribute,
    Condition,
    Joined,
    JsonObject,
    JsonText,
    Parameter,
    Part,
    Ref,
    Resource,
    Template,
    When,
)

_WIDTH: Final = 120
_RESOURCES_MAX: Final = 500
# What becomes of these with the stack is said in so many words, kept or not.
_HOLDS_DATA: Final = frozenset(("AWS::Logs::LogGroup", "AWS::SQS::Queue"))


class _Tagged:
    """A value under a short tag of CloudFormation, such as `!Ref`."""

    __slots__ = ("tag", "value")

    def __init__(self, tag: str, value: Any) -> None:
        self.tag = tag
        self.value = value


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, and nothing is written as an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's contract
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's contract
        return True


def _represent(dumper: _Dumper, tagged: _Tagged) -> yaml.Node:
    if isinstance(tagged.value, list):
        return dumper.represent_sequence(tagged.tag, tagged.value, flow_style=False)
    return dumper.represent_scalar(tagged.tag, tagged.value)


_Dumper.add_representer(_Tagged, _represent)


def render(template: Template) -> str:
    """The template's text; the same for the same template, byte by byte.

    Raises DeclarationError for more resources than CloudFormation takes.
    """
    if len(template.resources) > _RESOURCES_MAX:
        raise DeclarationError(
            f"expected at most {_RESOURCES_MAX} resources, which is what CloudFormation takes in a template, got "
            f"{len(template.resources)}: split the app, or write Terraform"
        )
    text: str = yaml.dump(document(template), Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)
    return "".join(f"# {note}\n" for note in template.notes) + text


def document(template: Template) -> dict[str, Any]:
    """The template as what YAML's tags and maps say."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": template.description,
        "Parameters": {parameter.name: _parameter(parameter) for parameter in template.parameters},
        "Conditions": {condition.name: _condition(condition) for condition in template.conditions},
        "Resources": {resource.id: _resource(resource) for resource in template.resources},
        "Outputs": {
            output.name: {"Description": output.description, "Value": _value(output.value)}
            for output in template.outputs
        },
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    fields = {
        "Type": "Number" if parameter.is_number else "String",
        "Description": parameter.description,
        "Default": parameter.default,
        "AllowedValues": list(parameter.allowed_values) or None,
        "AllowedPattern": parameter.allowed_pattern,
        "MaxLength": parameter.length_max,
        "MinValue": parameter.least,
        "MaxValue": parameter.most,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _condition(condition: Condition) -> _Tagged:
    equals = _Tagged("!Equals", [_Tagged("!Ref", condition.parameter), condition.value])
    return _Tagged("!Not", [equals]) if condition.negated else equals


def _resource(resource: Resource) -> dict[str, Any]:
    fields: dict[str, Any] = {"Type": resource.type}
    if resource.depends_on:
        fields["DependsOn"] = list(resource.depends_on)
    if resource.retain or resource.type in _HOLDS_DATA:
        fields["DeletionPolicy"] = fields["UpdateReplacePolicy"] = "Retain" if resource.retain else "Delete"
    return {**fields, "Properties": _value(resource.properties)}


def _value(value: Any) -> Any:
    match value:
        case Ref(name):
            return _Tagged("!Ref", name)
        case Attribute(resource, name):
            return _Tagged("!GetAtt", f"{resource}.{name}")
        case Joined(parts):
            return _Tagged("!Sub", "".join(map(_substituted, parts)))
        case When(condition, then, otherwise):
            absent = _Tagged("!Ref", "AWS::NoValue")
            return _Tagged("!If", [condition, _value(then), absent if otherwise is None else _value(otherwise)])
        case JsonObject(inner):
            return _value(inner)
        case JsonText(inner):
            return _json_text(inner)
        case Mapping():
            return {name: _value(each) for name, each in value.items()}
        case list() | tuple():
            return [_value(each) for each in value]
        case _:
            return value


def _substituted(part: Part) -> str:
    match part:
        case Ref(name):
            return f"${{{name}}}"
        case Attribute(resource, name):
            return f"${{{resource}.{name}}}"
        case str():
            return part.replace("${", "${!")


def _json_text(value: Any) -> Any:
    references: list[Part] = []
    text = json_text.dumps(_marked(value, references)).decode()
    if not references:
        return text
    parts: list[Part] = []
    for number, reference in enumerate(references):
        before, text = text.split(_mark(number), 1)
        parts += [before, reference]
    return _Tagged("!Sub", "".join(map(_substituted, [*parts, text])))


def _marked(value: Any, references: list[Part]) -> Any:
    """The value with references as marks that no name of a resource contains."""
    match value:
        case Ref() | Attribute():
            references.append(value)
            return _mark(len(references) - 1)
        case Joined(parts):
            return "".join(part if isinstance(part, str) else _marked(part, references) for part in parts)
        case Mapping():
            return {name: _marked(each, references) for name, each in value.items()}
        case list() | tuple():
            return [_marked(each, references) for each in value]
        case _:
            return value


def _mark(number: int) -> str:
    return f"<<{number}>>"
