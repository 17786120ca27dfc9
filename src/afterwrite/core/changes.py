"""Change: one item-level change, with images that are decoded only when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import orjson

from afterwrite.core.json_text import JsonText, dumps, encode_other
from afterwrite.core.values import Item, decode_item, to_python

INSERT: Final = "INSERT"
MODIFY: Final = "MODIFY"
REMOVE: Final = "REMOVE"
EVENT_NAMES: Final = (INSERT, MODIFY, REMOVE)

KEYS_ONLY: Final = "KEYS_ONLY"
NEW_IMAGE: Final = "NEW_IMAGE"
OLD_IMAGE: Final = "OLD_IMAGE"
NEW_AND_OLD_IMAGES: Final = "NEW_AND_OLD_IMAGES"
VIEW_TYPES: Final = (KEYS_ONLY, NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES)

# Who deletes an expired item (S25).
TTL_IDENTITY: Final[Mapping[str, str]] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}

Image: TypeAlias = bytes | Item
"""An item in the wire form, as JSON text or already parsed."""


class Change:
    """One item-level change of a table.

    `keys`, `new` and `old` are Python values (numbers as Decimal), decoded when first read; `new` and `old` are
    None where the item was absent or the stream's view type leaves them out. `sequence_number` is decimal text
    and compares as an integer (S9); it is None for a change that came through Kinesis (S26). `created_at_us`
    is in microseconds since the epoch.
    """

    __slots__ = (
        "_keys",
        "_keys_image",
        "_new",
        "_new_image",
        "_new_text",
        "_old",
        "_old_image",
        "_old_text",
        "created_at_us",
        "event_name",
        "id",
        "sequence_number",
        "size_bytes",
        "table",
        "user_identity",
        "view_type",
    )

    def __init__(
        self,
        *,
        id: str,
        table: str,
        event_name: str,
        keys: Image,
        new_image: Image | None = None,
        old_image: Image | None = None,
        sequence_number: str | None = None,
        created_at_us: int = 0,
        size_bytes: int = 0,
        user_identity: Mapping[str, str] | None = None,
        view_type: str = NEW_AND_OLD_IMAGES,
    ) -> None:
        self.id = id
        self.table = table
        self.event_name = event_name
        self.sequence_number = sequence_number
        self.created_at_us = created_at_us
        self.size_bytes = size_bytes
        self.user_identity = user_identity
        self.view_type = view_type
        self._keys_image = keys
        self._new_image = new_image
        self._old_image = old_image
        self._keys: dict[str, Any] | None = None
        self._new: dict[str, Any] | None = None
        self._old: dict[str, Any] | None = None
        # The images' texts, once they are parsed.
        self._new_text: bytes | None = None
        self._old_text: bytes | None = None

    @property
    def keys(self) -> Mapping[str, Any]:
        """The item's key attributes."""
        if self._keys is None:
            self._keys = decode_item(self.keys_image)
        return self._keys

    @property
    def new(self) -> Mapping[str, Any] | None:
        """The item after the change."""
        if self._new is None and (image := self.new_image) is not None:
            self._new = decode_item(image)
        return self._new

    @property
    def old(self) -> Mapping[str, Any] | None:
        """The item before the change."""
        if self._old is None and (image := self.old_image) is not None:
            self._old = decode_item(image)
        return self._old

    def after(self, attribute: str) -> Any:
        """One attribute of the item after the change, None where it has none; `new` decodes them all."""
        return _value(self._new, self.new_image, attribute)

    def before(self, attribute: str) -> Any:
        """One attribute of the item before the change, None where it had none; `old` decodes them all."""
        return _value(self._old, self.old_image, attribute)

    @property
    def keys_image(self) -> Item:
        """The keys in the wire form."""
        image = self._keys_image
        if isinstance(image, bytes):
            image = self._keys_image = orjson.loads(image)
        return image

    @property
    def new_image(self) -> Item | None:
        """The item after the change in the wire form."""
        image = self._new_image
        if isinstance(image, bytes):
            self._new_text = image
            image = self._new_image = orjson.loads(image)
        return image

    @property
    def old_image(self) -> Item | None:
        """The item before the change in the wire form."""
        image = self._old_image
        if isinstance(image, bytes):
            self._old_text = image
            image = self._old_image = orjson.loads(image)
        return image

    @property
    def new_json(self) -> JsonText | Item | None:
        """The item after the change in the wire form, for records and entries: what is text stays text."""
        text = self._new_text or self._new_image
        return JsonText(text) if isinstance(text, bytes) else text

    @property
    def old_json(self) -> JsonText | Item | None:
        """The item before the change, as `new_json` has that after it."""
        text = self._old_text or self._old_image
        return JsonText(text) if isinstance(text, bytes) else text

    @property
    def clear(self) -> Change:
        """The change with its private values, which a route gets masked."""
        return self

    @property
    def created_at_ms(self) -> int:
        """When the change was made, in milliseconds since the epoch."""
        return self.created_at_us // 1000

    @property
    def version(self) -> str:
        """Decimal text that rises with each change of an item, to be compared as an integer (S9).

        It is the sequence number, without the zeros that DynamoDB Local puts in front. A change that came through
        Kinesis without one gets one from its creation time; two of one microsecond are told apart by their ids, in no
        certain order.
        """
        if self.sequence_number is None:
            return str(position_by_time(self))
        return self.sequence_number.lstrip("0") or "0"

    @property
    def by_ttl(self) -> bool:
        """Whether the service deleted the item because its time to live ended (S25)."""
        return bool(self.user_identity == TTL_IDENTITY)

    def changed(self, attribute: str) -> bool:
        """Whether `attribute` differs between the old and the new image; presence counts."""
        old_image, new_image = self.old_image, self.new_image
        old = None if old_image is None else old_image.get(attribute)
        new = None if new_image is None else new_image.get(attribute)
        if old == new:
            return False
        if old is None or new is None or "S" in old or old.keys() != new.keys():
            return True
        # Equal values may be written differently: a set's members in another order, a number with other digits.
        return bool(to_python(old) != to_python(new))

    def __repr__(self) -> str:
        return f"Change({self.event_name} {self.table} {dict(self.keys)} sequence_number={self.sequence_number})"


def _value(decoded: Mapping[str, Any] | None, image: Item | None, attribute: str) -> Any:
    if decoded is not None:
        return decoded.get(attribute)
    if image is None or attribute not in image:
        return None
    return to_python(image[attribute])


def position_by_time(change: Change) -> int:
    """A number that rises with the creation time, another one for each change (S26)."""
    return change.created_at_us << 64 | int.from_bytes(blake2b(change.id.encode(), digest_size=8).digest())


def audit_entry(change: Change) -> JsonText:
    """Who changed what, and how: both images in DynamoDB's own form, which keeps the values' types.

    `event_id`, `event_name`, `table`, `keys`, `by` (null where it was a user), `sequence_number`, `at_ms`
    (milliseconds), `before` and `after`. The images' texts go in as they are stored, without being parsed.
    """
    head = orjson.dumps(
        {
            "event_id": change.id,
            "event_name": change.event_name,
            "table": change.table,
            "keys": change.keys_image,
            "by": change.user_identity,
            "sequence_number": change.sequence_number,
            "at_ms": change.created_at_ms,
        },
        default=encode_other,
    )
    return JsonText(b'%b,"before":%b,"after":%b}' % (head[:-1], _text(change.old_json), _text(change.new_json)))


def _text(image: JsonText | Item | None) -> bytes:
    if type(image) is JsonText:
        return image.text
    return dumps(image)
