"""An item's life, as audit logs and the change log tell it: each change with what was before and after.

An entry is taken as being about an item where its `keys` hold the item's key. An entry without `keys` is, where one
of its values, or an attribute of its `before` or `after`, is the key. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from afterwrite.core import json_text
from afterwrite.core.changes import INSERT, MODIFY, REMOVE, Change
from afterwrite.core.times import iso_milliseconds
from afterwrite.core.values import decode_item
from afterwrite.errors import InvalidValue

CHANGE_LOG: Final = "change log"
_BEFORE: Final = ("before", "old", "old_image")
_AFTER: Final = ("after", "new", "new_image")
_BY: Final = ("by", "who", "user", "user_identity")
_CHANGE_ID: Final = ("event_id", "change_id")
_WIRE_TYPES: Final = frozenset(("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"))
_TOLD: Final = frozenset((*_BEFORE, *_AFTER, *_BY, *_CHANGE_ID, "event_name", "table", "keys"))


@dataclass(frozen=True, slots=True)
class ItemEvent:
    """A change in an item's life. What the source does not tell is None; `more` is what else an entry holds.

    `at` is ISO 8601; `before` and `after` are items as Python values; `source` is the audit log, or the change log,
    and `number` the entry's number or the change's position there.
    """

    at: str
    event_name: str | None
    table: str | None
    keys: Mapping[str, Any] | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    by: Any
    source: str
    number: int
    change_id: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def differences(self) -> Iterator[tuple[str, Any, Any]]:
        """The attributes that differ, with their values before and after; None where there is none."""
        before, after = self.before or {}, self.after or {}
        for name in dict.fromkeys((*before, *after)):
            if before.get(name) != after.get(name):
                yield name, before.get(name), after.get(name)


@dataclass(frozen=True, slots=True)
class WantedItem:
    """What is looked for: the items of a partition key, or with a sort key one of them. Keys are compared as text."""

    key: str
    sort_key: str | None = None

    def in_text(self, text: bytes) -> bool:
        """Whether a JSON text may be about it. Cheap, and never wrong about a no."""
        if b"\\" in text or not self.key.isascii():
            return True
        return self.key.encode() in text

    def is_in(self, values: Iterable[Any]) -> bool:
        """Whether the key, and the sort key where one is given, are among `values`."""
        texts = {str(value) for value in values if not isinstance(value, Mapping | list)}
        return self.key in texts and (self.sort_key is None or self.sort_key in texts)


def event_of_entry(log: str, line: Mapping[str, Any]) -> ItemEvent:
    """The event that an audit log's line tells of."""
    content = line["entry"]
    entry: Mapping[str, Any] = content if isinstance(content, Mapping) else {"entry": content}
    before, after = _item(_first(entry, _BEFORE)), _item(_first(entry, _AFTER))
    name = entry.get("event_name")
    return ItemEvent(
        at=str(line["at"]),
        event_name=name if isinstance(name, str) else _event_name(before, after),
        table=entry.get("table"),
        keys=_item(entry.get("keys")),
        before=before,
        after=after,
        by=_first(entry, _BY),
        source=log,
        number=int(line["n"]),
        change_id=str(line["id"]).partition("/")[0],
        more={name: value for name, value in entry.items() if name not in _TOLD},
    )


def event_of_change(position: int, change: Change) -> ItemEvent:
    """The event that a change of the change log is."""
    return ItemEvent(
        at=iso_milliseconds(change.created_at_ms),
        event_name=change.event_name,
        table=change.table,
        keys=change.keys,
        before=change.old,
        after=change.new,
        by=change.user_identity,
        source=CHANGE_LOG,
        number=position,
        change_id=change.id,
    )


def completed(event: ItemEvent, change: ItemEvent | None) -> ItemEvent:
    """The event with the keys and the images of its change, where it has none itself."""
    if change is None:
        return event
    event = replace(
        event,
        event_name=event.event_name or change.event_name,
        table=event.table or change.table,
        keys=event.keys or change.keys,
        by=change.by if event.by is None else event.by,
    )
    if event.before is None and event.after is None:
        return replace(event, before=change.before, after=change.after)
    return event


def is_about(event: ItemEvent, wanted: WantedItem) -> bool:
    """Whether the event is one of the wanted item's."""
    if event.keys:
        return wanted.is_in(event.keys.values())
    return any(wanted.is_in(values.values()) for values in (event.before or {}, event.after or {}, event.more))


def keys_of(event: ItemEvent) -> Iterator[str]:
    """The key attributes that an event names, as text."""
    return (str(value) for value in (event.keys or {}).values())


def decode(line: bytes) -> dict[str, Any]:
    """An audit log's line; numbers keep every digit."""
    decoded: dict[str, Any] = json_text.loads_exactly(line)
    return decoded


def _first(entry: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((entry[name] for name in names if entry.get(name) is not None), None)


def _item(value: Any) -> Mapping[str, Any] | None:
    if not isinstance(value, Mapping):
        return None
    if value and all(
        isinstance(each, Mapping) and len(each) == 1 and each.keys() <= _WIRE_TYPES for each in value.values()
    ):
        try:
            return decode_item(orjson.loads(json_text.dumps(value)))
        except (InvalidValue, ValueError, TypeError):
            return value
    return value


def _event_name(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str | None:
    if before is None:
        return None if after is None else INSERT
    return REMOVE if after is None else MODIFY
