"""Input templates: values, texts and JSON with values of the event in them (S31)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from afterwrite.core.input_templates import InputTemplate
from afterwrite.errors import DeclarationError

EVENT: dict[str, Any] = {
    "eventName": "INSERT",
    "dynamodb": {"Keys": {"pk": {"S": 'a "b"'}}, "n": Decimal("1.10"), "list": [{"x": 1}, {"x": 2}, {"y": 3}]},
    "my-field_1": None,
}
VARIABLES = {"aws.pipes.pipe-name": "p", "aws.pipes.event.ingestion-time": "2024-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ('"Hello, sender"', "Hello, sender"),
        ("Hello, <$.eventName>", "Hello, INSERT"),
        ("<$.dynamodb.Keys>", {"pk": {"S": 'a "b"'}}),
        (" <$.dynamodb.n> ", Decimal("1.10")),
        ('"key <$.dynamodb.Keys.pk.S>"', 'key a "b"'),
        ('{"k": <$.dynamodb.Keys.pk.S>, "s": "<$.dynamodb.Keys.pk.S>!"}', {"k": 'a "b"', "s": 'a "b"!'}),
        ('{"a": [1, <$.dynamodb.list[1].x>, "<$.dynamodb.list>"]}', {"a": [1, 2, '[{"x":1},{"x":2},{"y":3}]']}),
        ("<$.dynamodb.list[*].x>", [1, 2]),
        ("<$.dynamodb.Keys.*.S>", ['a "b"']),
        ('{"a": <$.nothing>, "b": "<$.dynamodb.list[9]>", "c": <$.my-field_1>}', {"a": None, "b": "", "c": None}),
        ('{"q": "a \\"<$.eventName>\\" b", "p": <aws.pipes.pipe-name>}', {"q": 'a "INSERT" b', "p": "p"}),
        ('{"at": <aws.pipes.event.ingestion-time>}', {"at": "2024-01-01T00:00:00Z"}),
        ('{"event": <aws.pipes.event>}', {"event": EVENT}),
        ("<aws.pipes.event.json>", EVENT),
        ("<$>", EVENT),
        ("1 < 2 <b>", "1 < 2 <b>"),
        ('{"exact": 1.10}', {"exact": 1.10}),
        ("<aws.pipes.enrichment-arn>", None),
    ],
)
def test_a_template_becomes_what_it_says_s31(template: str, rendered: Any) -> None:
    assert InputTemplate(template).render(EVENT, VARIABLES) == rendered


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", "1 to 8192 characters"),
        ("x" * 8193, "1 to 8192 characters"),
        ('{"a": 1,}', "no JSON"),
        ('{"a": <$.a> "b": 1}', "no JSON"),
        ("<$.a..b>", "expected a path"),
        ("<$[?(@.x)]>", "expected a path"),
        ("<aws.pipes.nothing>", "expected a variable"),
        ('{"<$.a>": 1}', "no placeholder in a name"),
        ('{"a": [{"x<$.a>": 1}]}', "no placeholder in a name"),
        ("\ue000", "private use"),
    ],
)
def test_a_template_that_cannot_be_is_refused(template: str, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        InputTemplate(template)
