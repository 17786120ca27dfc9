"""What a delivery stream on AWS is given: a record's fields, and by which the lake tells and places it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from afterwrite.core.times import iso_seconds

_OWN_FIELDS: Final = frozenset(("id", "time", "dt", "hour"))


def delivered_record(id: str, at_ms: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record's fields, its `id`, and the change's `time` as events have it.

    A field of the record that is called so, or as the partitions of the lake are, gets an underscore in front.
    """
    fields = {field_name(name): value for name, value in record.items()}
    return {"id": id, "time": iso_seconds(at_ms), **fields}


def field_name(name: str) -> str:
    """The name under which a record's field is given."""
    return f"_{name}" if name.lstrip("_").lower() in _OWN_FIELDS else name
