"""The tags of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping

from afterwrite.table import fields
from afterwrite.table.fields import Body, Violations

TAGS_MAX = 50
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*")
_KEY_CHARACTERS = (1, 128)
_VALUE_CHARACTERS = (0, 256)


def parse_tags(body: Body) -> dict[str, str]:
    """The `Tags` of a request, by key. Raises ServiceError (ValidationException)."""
    tags: dict[str, str] = {}
    listed = fields.structures(body, "Tags", "Tag") or ()
    violations = Violations()
    for number, tag in enumerate(listed, 1):
        _check_text(violations, fields.text(tag, "Key"), f"tags.{number}.member.key", _KEY_CHARACTERS)
        _check_text(violations, fields.text(tag, "Value"), f"tags.{number}.member.value", _VALUE_CHARACTERS)
    violations.check()
    for tag in listed:
        key, value = str(tag["Key"]), str(tag["Value"])
        if not _TAG_TEXT.fullmatch(key):
            raise fields.invalid(f"The Tag Key provided is invalid, Key: {key}")
        if not _TAG_TEXT.fullmatch(value):
            raise fields.invalid(f"The Tag Value provided is invalid, Value: {value}")
        if key.startswith("aws:"):
            raise fields.invalid(f"Tag Key cannot be prefixed with aws:, Key: {key}")
        if key in tags:
            raise fields.invalid(f"Duplicate Tag Keys provided as input: Duplicate Tag Key found {key}")
        tags[key] = value
    check_tag_count(tags)
    return tags


def parse_tag_keys(body: Body) -> list[str]:
    """The `TagKeys` of a request. Raises ServiceError (ValidationException)."""
    keys = fields.texts(body, "TagKeys")
    if keys is None:
        raise fields.missing("TagKeys")
    if not keys:
        raise fields.invalid("Atleast one Tag Key needs to be provided as Input.")
    violations = Violations()
    for number, key in enumerate(keys, 1):
        _check_text(violations, key, f"tagKeys.{number}.member", _KEY_CHARACTERS)
    violations.check()
    return keys


def _check_text(violations: Violations, value: str | None, place: str, characters: tuple[int, int]) -> None:
    fewest, most = characters
    if value is None:
        violations.add(None, place, "Member must not be null")
    elif len(value) < fewest:
        violations.add(value, place, f"Member must have length greater than or equal to {fewest}")
    elif len(value) > most:
        violations.add(value, place, f"Member must have length less than or equal to {most}")


def check_tag_count(tags: Mapping[str, str]) -> None:
    """Refuse more tags than a table may have."""
    if len(tags) > TAGS_MAX:
        raise fields.invalid("Number of Tags exceed the current limit for the provided ResourceArn")
