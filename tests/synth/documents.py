"""A rendered template as plain values: `!Ref X` is {"Ref": "X"}, `!GetAtt X.Y` {"Fn::GetAtt": "X.Y"}, and so on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from afterwrite.synth.cloudformation import render
from afterwrite.synth.document import Template


class _Loader(yaml.SafeLoader):
    """Knows CloudFormation's short tags."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix == "Ref" else f"Fn::{suffix}"
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.ScalarNode)
    return {name: loader.construct_scalar(node)}


_Loader.add_multi_constructor("!", _tagged)


def parsed(template: Template) -> dict[str, Any]:
    """The template as CloudFormation reads it."""
    document: dict[str, Any] = yaml.load(render(template), Loader=_Loader)
    return document


def of_type(document: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The properties of the resources of a type, by id."""
    return {id: each["Properties"] for id, each in document["Resources"].items() if each["Type"] == kind}


def references(value: Any) -> Iterator[str]:
    """The ids that a value refers to."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "Ref":
                yield each
            elif key == "Fn::GetAtt":
                yield each.partition(".")[0]
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)
