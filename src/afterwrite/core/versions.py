"""Versions: what tells the later of two changes of one item, so that a late one puts nothing older back."""

from __future__ import annotations

from typing import Final

from afterwrite.errors import InvalidValue

TOMBSTONE_MS: Final = 7 * 86_400_000
"""How long what is deleted leaves its version behind; no change is later than that."""
_INT64_MAX: Final = 2**63 - 1
_A_MS: Final = 1_000_000


def is_version(text: str) -> bool:
    """Whether the text is a whole number of at least 0, written without a sign and without zeros in front."""
    return text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0")


def check_version(version: str, of: str) -> None:
    """Raises InvalidValue for a version that is none; `of` names what has it."""
    if not is_version(version):
        raise InvalidValue(
            f"expected the version of {of} to be a whole number as text, got {version!r}: give a sequence number, or "
            "a counter of the item"
        )


def is_later(given: str, held: str) -> bool:
    """Whether a version is later than another. They are compared as numbers of any length."""
    return (len(given), given) > (len(held), held)


def as_int64(version: str, at_ms: int) -> int:
    """The version for a service whose versions are 64-bit integers from 1 (S36).

    One that fits is itself. A stream's sequence number does not: then it is the change's time, and of the changes of
    one item at one time the one that arrives last is the latest.
    """
    number = int(version)
    return max(1, number) if number <= _INT64_MAX else max(1, at_ms) * _A_MS
