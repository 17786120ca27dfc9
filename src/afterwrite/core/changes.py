"""Change: one item-level change, with images that are decoded only when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar, overload

import orjson

from afterwrite.core.values import Item, to_python

T = TypeVar("T")

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


class Attributes(Mapping[str, Any]):
    """An item's attributes as Python values (numbers as Decimal), each decoded when it is first read.

    `dict(attributes)` is all of them. Reading one that is no attribute value raises InvalidValue.
    """

    __slots__ = ("_decoded", "_image")

    def __init__(self, image: Item) -> None:
        self._image = image
        self._decoded: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        wire = self._image[name]
        # Text is most of what there is; it is settled here, without a call.
        if "S" in wire and len(wire) == 1:
            return wire["S"]
        if self._decoded is None:
            self._decoded = {}
        if name not in self._decoded:
            self._decoded[name] = to_python(wire)
        return self._decoded[name]

    @overload
    def get(self, name: str, /) -> Any | None: ...

    @overload
    def get(self, name: str, /, default: Any | T) -> Any | T: ...

    def get(self, name: str, /, default: Any = None) -> Any:
        """The value of the attribute `name`, or `default`."""
        return self[name] if name in self._image else default

    def __contains__(self, name: object) -> bool:
        return name in self._image

    def __iter__(self) -> Iterator[str]:
        return iter(self._image)

    def __len__(self) -> int:
        return len(self._image)

    def __repr__(self) -> str:
        return repr(dict(self))


class Change:
    """One item-level change of a table.

    `keys`, `new` and `old` are mappings of Python values, decoded as far as they are read; `new` and `old` are
    None where the item was absent or the stream's view type leaves them out. `sequence_number` is decimal text
    and compares as an integer (S9); it is None for a change that came through Kinesis (S26). `created_at_us`
    is in microseconds since the epoch.
    """

    __slots__ = (
        "_keys",
        "_keys_image",
        "_new",
        "_new_image",
        "_old",
        "_old_image",
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
        self._keys: Attributes | None = None
        self._new: Attributes | None = None
        self._old: Attributes | None = None

    @property
    def keys(self) -> Mapping[str, Any]:
        """The item's key attributes."""
        if self._keys is None:
            self._keys = Attributes(self.keys_image)
        return self._keys

    @property
    def new(self) -> Mapping[str, Any] | None:
        """The item after the change."""
        if self._new is None and (image := self.new_image) is not None:
            self._new = Attributes(image)
        return self._new

    @property
    def old(self) -> Mapping[str, Any] | None:
        """The item before the change."""
        if self._old is None and (image := self.old_image) is not None:
            self._old = Attributes(image)
        return self._old

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
            image = self._new_image = orjson.loads(image)
        return image

    @property
    def old_image(self) -> Item | None:
        """The item before the change in the wire form."""
        image = self._old_image
        if isinstance(image, bytes):
            image = self._old_image = orjson.loads(image)
        return image

    @property
    def created_at_ms(self) -> int:
        """When the change was made, in milliseconds since the epoch."""
        return self.created_at_us // 1000

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
