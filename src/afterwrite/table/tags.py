"""The tags of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping

from afterwrite.table import fields
from afterwrite.table.fields import Body

TAGS_MAX = 50
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*")
_TAG_KEY_CHARACTERS_MAX = 128
_TAG_VALUE_CHARACTERS_MAX = 256


def parse_tags(body: Body) -> dict[str, str]:
    """The `Tags` of a request, by key. Raises ServiceError (ValidationException)."""
    tags: dict[str, str] = {}
    for tag in fields.structures(body, "Tags", "Tag") or ():
        key, value = fields.text(tag, "Key"), fields.text(tag, "Value")
        if not key or len(key) > _TAG_KEY_CHARACTERS_MAX or not _TAG_TEXT.fullmatch(key):
            raise fields.invalid(f"The Tag Key provided is invalid, Key: {key}")
        if value is None or len(value) > _TAG_VALUE_CHARACTERS_MAX or not _TAG_TEXT.fullmatch(value):
            raise fields.invalid(f"The Tag Value provided is invalid, Value: {'null' if value is None else value}")
        if key.startswith("aws:"):
            raise fields.invalid(f"Tag Key cannot be prefixed with aws:, Key: {key}")
        if key in tags:
            raise fields.invalid(f"Duplicate Tag Keys provided as input: Duplicate Tag Key found {key}")
        tags[key] = value
    check_tag_count(tags)
    return tags


def check_tag_count(tags: Mapping[str, str]) -> None:
    """Refuse more tags than a table may have."""
    if len(tags) > TAGS_MAX:
        raise fields.invalid("Number of Tags exceed the current limit for the provided ResourceArn")
