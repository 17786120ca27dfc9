"""Input templates: how a pipe reshapes an event for its target, in the language of EventBridge Pipes (S31).

    <$.dynamodb.Keys.pk.S>                      a value of the event
    "order <$.dynamodb.Keys.pk.S>"              a text with values in it
    {"order": <$.dynamodb.Keys.pk.S>, "at": <aws.pipes.event.ingestion-time>}

Outside quotes a placeholder stands for the value as it is, inside for its text. What is no JSON is free text. A path
that leads nowhere is null, and nothing in a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from afterwrite.core import json_text
from afterwrite.core.times import iso_seconds
from afterwrite.errors import DeclarationError

CHARACTERS_MAX: Final = 8_192
VARIABLES: Final = (
    "aws.pipes.pipe-arn",
    "aws.pipes.pipe-name",
    "aws.pipes.source-arn",
    "aws.pipes.enrichment-arn",
    "aws.pipes.target-arn",
    "aws.pipes.event.ingestion-time",
    "aws.pipes.event",
    "aws.pipes.event.json",
)

_PLACEHOLDER: Final = re.compile(r"<(\$[^<>]*|aws\.pipes\.[^<>]*)>")
_STEP: Final = re.compile(r"\.([A-Za-z0-9_/-]+)|\.(\*)|\[(\d+)\]|\[(\*)\]")
# Stands for a placeholder while the template is read as JSON; behind U+E002 it is a whole value.
_MARK: Final = re.compile("\ue000(\\d+)\ue001")

_NOTHING: Final = object()
Variables: TypeAlias = Mapping[str, Any]
"""The values of the reserved variables, all but those of the event itself."""
_Value: TypeAlias = Callable[[Any, Variables], Any]


class InputTemplate:
    """A compiled template. Raises DeclarationError for one that EventBridge would refuse."""

    def __init__(self, text: str) -> None:
        if not text or len(text) > CHARACTERS_MAX:
            raise DeclarationError(f"expected an input template of 1 to {CHARACTERS_MAX} characters, got {len(text)}")
        if re.search("[\ue000-\ue002]", text):
            raise DeclarationError("expected no characters of private use in an input template, got U+E000 to U+E002")
        self.text = text
        self._values: list[_Value] = []
        marked = self._marked(text)
        stripped = marked.strip()
        if stripped[:1] in ("{", "[", '"'):
            try:
                tree = json_text.loads_exactly(stripped.encode())
            except ValueError as error:
                raise DeclarationError(
                    f"expected JSON with <$.paths> in the input template {text!r}, got no JSON: {error}"
                ) from None
            self._tree = _checked(tree, text)
        else:
            self._tree = f"\ue002{stripped}" if _MARK.fullmatch(stripped) else marked

    def _marked(self, text: str) -> str:
        """The template with a mark for each placeholder, outside quotes one that is JSON."""
        parts: list[str] = []
        place, quoted = 0, False
        in_json = text.lstrip()[:1] in ("{", "[", '"')
        for match in _PLACEHOLDER.finditer(text):
            between = text[place : match.start()]
            quoted ^= len(re.findall(r'(?<!\\)(?:\\\\)*"', between)) % 2 == 1
            mark = f"\ue000{len(self._values)}\ue001"
            self._values.append(_compiled(match[1], text))
            parts += (between, f'"\ue002{mark}"' if in_json and not quoted else mark)
            place = match.end()
        return "".join((*parts, text[place:]))

    def render(self, event: Any, variables: Variables) -> Any:
        """The event reshaped. `event` is what a JSON parser gives."""
        return self._filled(self._tree, event, variables)

    def as_json(self) -> str:
        """The template as a value inside JSON: free text in quotes, anything else as it is."""
        stripped = self.text.strip()
        is_value = stripped[:1] in ("{", "[", '"') or (isinstance(self._tree, str) and self._tree.startswith("\ue002"))
        return stripped if is_value else json_text.dumps(self.text).decode()

    def _filled(self, node: Any, event: Any, variables: Variables) -> Any:
        if isinstance(node, dict):
            return {name: self._filled(member, event, variables) for name, member in node.items()}
        if isinstance(node, list):
            return [self._filled(member, event, variables) for member in node]
        if not isinstance(node, str):
            return node
        if node.startswith("\ue002"):
            value = self._values[int(node[2:-1])](event, variables)
            return None if value is _NOTHING else value
        return _MARK.sub(lambda match: _as_text(self._values[int(match[1])](event, variables)), node)


def _checked(tree: Any, text: str) -> Any:
    """The tree, none of whose names holds a placeholder."""
    if isinstance(tree, dict):
        for name, member in tree.items():
            if _MARK.search(name):
                raise DeclarationError(f"expected no placeholder in a name of the input template {text!r}")
            _checked(member, text)
    elif isinstance(tree, list):
        for member in tree:
            _checked(member, text)
    return tree


def _compiled(placeholder: str, text: str) -> _Value:
    if placeholder in ("aws.pipes.event", "aws.pipes.event.json"):
        return lambda event, _: event
    if placeholder.startswith("aws."):
        if placeholder not in VARIABLES:
            raise DeclarationError(
                f"expected a variable of {', '.join(VARIABLES)} in the input template {text!r}, got {placeholder}"
            )
        return lambda _, variables: variables.get(placeholder, _NOTHING)
    steps: list[str | int | None] = []
    place = 1
    while place < len(placeholder):
        match = _STEP.match(placeholder, place)
        if match is None:
            raise DeclarationError(
                f"expected a path of names, indices and * such as $.dynamodb.Keys.pk.S in the input template {text!r}, "
                f"got {placeholder}"
            )
        steps.append(int(match[3]) if match[3] else match[1])
        place = match.end()
    return lambda event, _: _at(event, steps)


def _at(value: Any, steps: Sequence[str | int | None]) -> Any:
    """The value at a path; None among the steps is for all members, and makes a list."""
    for number, step in enumerate(steps):
        if step is None:
            members = list(value.values()) if isinstance(value, dict) else value
            if not isinstance(members, list):
                return _NOTHING
            found = (_at(member, steps[number + 1 :]) for member in members)
            return [member for member in found if member is not _NOTHING]
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else _NOTHING
        else:
            value = value.get(step, _NOTHING) if isinstance(value, dict) else _NOTHING
    return value


def _as_text(value: Any) -> str:
    if value is _NOTHING:
        return ""
    return value if isinstance(value, str) else json_text.dumps(value).decode()


def ingestion_time(at_s: float) -> str:
    """A time as `aws.pipes.event.ingestion-time` has it."""
    return iso_seconds(int(at_s) * 1000)
