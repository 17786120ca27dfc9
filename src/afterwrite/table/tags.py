"""The tags of a table."""

from __future__ import annotations

import re
from collections.abc import Collection

from afterwrite.table import fields, wording
from afterwrite.table.fields import Body

TAGS_MAX = 50
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*")
_KEY_CHARACTERS = (1, 128)
_VALUE_CHARACTERS = (0, 256)


def parse_tags(body: Body) -> dict[str, str]:
    """The `Tags` of a request, by key. Raises ServiceError (ValidationException)."""
    tags: dict[str, str] = {}
    listed = fields.structures(body, "Tags", "Tag") or ()
    for tag in listed:
        key = _checked_text("Key", fields.text(tag, "Key"), _KEY_CHARACTERS)
        value = _checked_text("Value", fields.text(tag, "Value"), _VALUE_CHARACTERS)
        if key.startswith("aws:"):
            raise wording.invalid(f"Tag Key cannot be prefixed with aws:, Key: {key}")
        if key in tags:
            raise wording.invalid(f"Duplicate Tag Keys provided as input: Duplicate Tag Key found {key}")
        tags[key] = value
    check_tag_count(tags)
    return tags


def parse_tag_keys(body: Body) -> list[str]:
    """The `TagKeys` of a request. Raises ServiceError (ValidationException)."""
    keys = fields.texts(body, "TagKeys")
    if keys is None:
        raise fields.missing("TagKeys")
    if not keys:
        raise wording.invalid("Atleast one Tag Key needs to be provided as Input.")
    for key in keys:
        _checked_text("Key", key, _KEY_CHARACTERS)
    check_tag_count(keys)
    return keys


def _checked_text(kind: str, text: str | None, characters: tuple[int, int]) -> str:
    fewest, most = characters
    if text is None or not fewest <= len(text) <= most or not _TAG_TEXT.fullmatch(text):
        raise wording.invalid(f"The Tag {kind} provided is invalid, {kind}: {'null' if text is None else text}")
    return text


def check_tag_count(tags: Collection[str]) -> None:
    """Refuse more tags than a table may have."""
    if len(tags) > TAGS_MAX:
        raise wording.invalid("Number of Tags exceed the current limit for the provided ResourceArn")
