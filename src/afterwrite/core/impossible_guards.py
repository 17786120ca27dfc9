"""Guards that no change of their table can meet, or none of an event that they name: refused when they are declared."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from afterwrite.core.changes import (
    EVENT_NAMES,
    INSERT,
    KEYS_ONLY,
    MODIFY,
    NEW_AND_OLD_IMAGES,
    NEW_IMAGE,
    OLD_IMAGE,
    REMOVE,
)
from afterwrite.core.conditions import listed, may_be_absent
from afterwrite.core.routes import Guard
from afterwrite.errors import DeclarationError

_MADE: Final = {INSERT: ("new",), MODIFY: ("old", "new"), REMOVE: ("old",)}
_SHOWN: Final = {KEYS_ONLY: (), NEW_IMAGE: ("new",), OLD_IMAGE: ("old",), NEW_AND_OLD_IMAGES: ("old", "new")}
_OF_TEXT: Final = ("prefix", "suffix", "equals-ignore-case", "wildcard", "cidr")


def refuse_impossible(
    guard: Guard, table: str, *, named: Collection[str], view_type: str, keys: Mapping[str, str]
) -> None:
    """Raise DeclarationError where a guard holds for no change, or for none of an event name among the `named`.

    `keys` are the table's key attributes with their types (`S`, `N`, `B`), `view_type` says which images changes show.
    """
    for name, matchers in [*guard.keys.items(), *guard.old.items(), *guard.new.items()]:
        if name in keys and not any(_may_be(keys[name], alternative) for alternative in listed(matchers)):
            raise DeclarationError(
                f"expected a condition that the key {name} of {table}, of the type {keys[name]}, can meet, got "
                f"{matchers!r}: no value of that type does"
            )
    if guard.changed and view_type != NEW_AND_OLD_IMAGES:
        raise DeclarationError(
            f"expected both images for changed={_shown(guard.changed)}, got {table} with {view_type}, whose changes "
            f"do not show what differs: declare it with view_type={NEW_AND_OLD_IMAGES!r}"
        )
    impossible = {event: why for event in guard.event_names for why in _reasons(guard, event, view_type, keys)}
    if impossible and (impossible.keys() == guard.event_names or not impossible.keys().isdisjoint(named)):
        event = next(each for each in EVENT_NAMES if each in impossible and (not named or each in named))
        raise DeclarationError(f"expected conditions that {event} of {table} can meet, got {impossible[event]}")


def _reasons(guard: Guard, event: str, view_type: str, keys: Collection[str]) -> Iterator[str]:
    """Why no change of this name meets the guard: what was given, and what to do."""
    for image, conditions in (("old", guard.old), ("new", guard.new)):
        for attribute, matchers in conditions.items():
            is_there = image in _MADE[event] and image in _SHOWN[view_type]
            if is_there or may_be_absent(matchers, f"{image}.{attribute}"):
                continue
            given = f"{image}={{{attribute!r}: {matchers!r}}}"
            if image not in _SHOWN[view_type]:
                yield (
                    f"{given}, and its changes carry {view_type}: declare it with view_type={NEW_AND_OLD_IMAGES!r}, "
                    "or leave out the condition"
                )
            else:
                yield (
                    f"{given}, and it has no {image} image: leave out {event}, or the condition, or have absent() "
                    "among its alternatives"
                )
    if event == MODIFY and guard.changed and all(name in keys for name in guard.changed):
        yield (
            f"changed={_shown(guard.changed)}, and keys never change (an item with another key is another item): "
            "name an attribute that is no key"
        )


def _may_be(kind: str, alternative: Any) -> bool:
    """Whether a key of the type can meet one alternative of a condition."""
    if isinstance(alternative, Mapping):
        operator, operand = next(iter(alternative.items()), (None, None))
        if operator in _OF_TEXT:
            return kind == "S"
        return kind == "N" if operator == "numeric" else not (operator == "exists" and operand is False)
    if isinstance(alternative, str):
        return kind == "S"
    return kind == "N" and isinstance(alternative, int | float | Decimal) and not isinstance(alternative, bool)


def _shown(names: tuple[str, ...]) -> str:
    return repr(names[0] if len(names) == 1 else list(names))
