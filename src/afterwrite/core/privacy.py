"""Private attributes: paths into items, and changes that show a mask in their place.

A path is an attribute's name, or names joined by dots that lead into maps (`profile.phone`); lists on the way are gone
through. Whatever stands at a path is replaced by the text `MASK`, also where the path would lead on into something
that is neither a map nor a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from afterwrite.core.changes import Change
from afterwrite.core.values import AttributeValue, Item
from afterwrite.errors import DeclarationError

MASK: Final = "***"
_MASKED: Final[AttributeValue] = {"S": MASK}

PrivatePath: TypeAlias = tuple[str, ...]


def compile_paths(table: str, given: Iterable[str], keys: Iterable[str]) -> tuple[PrivatePath, ...]:
    """The paths, split. Raises DeclarationError for what is no path, and for a key attribute."""
    if isinstance(given, str):
        raise DeclarationError(f"expected private=({given!r},) for {table}, a sequence of paths, got one text")
    paths: list[PrivatePath] = []
    names = set(keys)
    for path in given:
        parts = tuple(path.split(".")) if isinstance(path, str) else ()
        if not parts or not all(parts):
            raise DeclarationError(
                f"expected names joined by dots, such as 'profile.phone', as private of {table}, got {path!r}"
            )
        if parts[0] in names:
            raise DeclarationError(
                f"expected private attributes that are no keys of {table}, got {path!r}: keys say what a change is "
                "about, so keep what is private out of them"
            )
        paths.append(parts)
    return tuple(paths)


def masked(item: Item, paths: Sequence[PrivatePath]) -> Item:
    """The item (wire form) with the mask in place of what stands at the paths. What is not on them is shared."""
    for path in paths:
        if path[0] in item:
            item = {**item, path[0]: _masked(item[path[0]], path[1:])}
    return item


def _masked(value: Mapping[str, Any], rest: PrivatePath) -> AttributeValue:
    if not rest:
        return _MASKED
    if "L" in value:
        return {"L": [_masked(each, rest) for each in value["L"]]}
    if "M" in value:
        members: Mapping[str, Any] = value["M"]
        if rest[0] not in members:
            return {"M": dict(members)}
        return {"M": {**members, rest[0]: _masked(members[rest[0]], rest[1:])}}
    return _MASKED


class MaskedChange(Change):
    """A change whose images show the mask where its table's private attributes are; `clear` is the change itself.

    `changed` compares the values themselves.
    """

    __slots__ = ("_clear", "_is_masked", "_paths")

    def __init__(self, change: Change, paths: Sequence[PrivatePath]) -> None:
        super().__init__(
            id=change.id,
            table=change.table,
            event_name=change.event_name,
            keys=change._keys_image,
            new_image=change._new_image,
            old_image=change._old_image,
            sequence_number=change.sequence_number,
            created_at_us=change.created_at_us,
            size_bytes=change.size_bytes,
            user_identity=change.user_identity,
            view_type=change.view_type,
        )
        self._clear = change
        self._paths = paths
        self._is_masked = False

    @property
    def clear(self) -> Change:
        """The change with its private values."""
        return self._clear

    @property
    def new_image(self) -> Item | None:
        """The item after the change in the wire form, masked."""
        self._mask()
        return self._new_image  # type: ignore[return-value]

    @property
    def old_image(self) -> Item | None:
        """The item before the change in the wire form, masked."""
        self._mask()
        return self._old_image  # type: ignore[return-value]

    @property
    def new_json(self) -> Item | None:
        """The item after the change in the wire form, masked."""
        return self.new_image

    @property
    def old_json(self) -> Item | None:
        """The item before the change in the wire form, masked."""
        return self.old_image

    def changed(self, attribute: str) -> bool:
        """Whether `attribute` differs between the old and the new image; presence counts."""
        return self._clear.changed(attribute)

    def _mask(self) -> None:
        if not self._is_masked:
            new, old = self._clear.new_image, self._clear.old_image
            self._new_image = None if new is None else masked(new, self._paths)
            self._old_image = None if old is None else masked(old, self._paths)
            self._is_masked = True
