"""Tests on text: affixes, case folding per character (P10), wildcards (P8), addresses (P9).

Every function here returns a predicate that is false for whatever is not text, and whose time is linear in the
text's length.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Test = Callable[[Any], bool]
Address = tuple[int, int]

_ADDRESS_V4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_ADDRESS_V6 = re.compile(r"[0-9a-fA-F:]{2,39}")


def starts_with(prefixes: Iterable[str]) -> Test:
    """Text that starts with one of `prefixes`."""
    wanted = tuple(prefixes)
    return lambda value: isinstance(value, str) and value.startswith(wanted)


def ends_with(suffixes: Iterable[str]) -> Test:
    """Text that ends with one of `suffixes`."""
    wanted = tuple(suffixes)
    return lambda value: isinstance(value, str) and value.endswith(wanted)


def equals_ignoring_case(wanted: str) -> Test:
    """Text whose every character is the wanted one in lower or upper case."""
    if wanted.isascii():
        folded, length = wanted.lower(), len(wanted)
        # Only ASCII folds to ASCII: the Kelvin sign's lower case is k, yet it is no case of k.
        return lambda value: (
            isinstance(value, str) and len(value) == length and value.isascii() and value.lower() == folded
        )
    matches = _either_case(wanted).fullmatch
    return lambda value: isinstance(value, str) and matches(value) is not None


def starts_with_ignoring_case(wanted: str) -> Test:
    """Text that starts with `wanted` in any case."""
    matches = _either_case(wanted).match
    return lambda value: isinstance(value, str) and matches(value) is not None


def ends_with_ignoring_case(wanted: str) -> Test:
    """Text that ends with `wanted` in any case."""
    if not wanted:
        return lambda value: isinstance(value, str)
    longest = sum(max(map(len, _cases(character))) for character in wanted)
    matches = re.compile("".join(_alternatives(case[::-1] for case in _cases(c)) for c in wanted[::-1])).match
    return lambda value: isinstance(value, str) and matches(value[-longest:][::-1]) is not None


def _cases(character: str) -> list[str]:
    return sorted({character.lower(), character.upper()})


def _alternatives(texts: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, texts))})"


def _either_case(wanted: str) -> re.Pattern[str]:
    return re.compile("".join(_alternatives(_cases(character)) for character in wanted))


def split_wildcard(pattern: str) -> list[str]:
    """The literal stretches between a wildcard pattern's stars; `ValueError` says what is wrong with it."""
    stretches, current, position = [], "", 0
    while position < len(pattern):
        character = pattern[position]
        following = pattern[position + 1 : position + 2]
        if character == "*":
            if following == "*":
                raise ValueError(f"no two stars in a row (at character {position})")
            stretches.append(current)
            current = ""
        elif character == "\\":
            if following not in ("*", "\\"):
                raise ValueError(rf"a backslash only before * or \ (at character {position})")
            current += following
            position += 1
        else:
            current += character
        position += 1
    return [*stretches, current]


def like(stretches: Sequence[str]) -> Test:
    """Text made of these stretches, in order, with anything between them."""
    head, *middle = stretches
    if not middle:
        return lambda value: isinstance(value, str) and value == head
    tail = middle.pop()
    shortest = len(head) + len(tail)

    def matches(value: Any) -> bool:
        if not isinstance(value, str) or len(value) < shortest:
            return False
        if not (value.startswith(head) and value.endswith(tail)):
            return False
        at, end = len(head), len(value) - len(tail)
        for stretch in middle:
            at = value.find(stretch, at, end)
            if at < 0:
                return False
            at += len(stretch)
        return True

    return matches


def address(value: Any) -> Address | None:
    """An IP address literal as (4 or 6, number); an IPv4-mapped IPv6 literal is the IPv4 address."""
    if not isinstance(value, str):
        return None
    if _ADDRESS_V4.fullmatch(value):
        parts = [int(part) for part in value.split(".")]
        return (4, int.from_bytes(bytes(parts), "big")) if max(parts) < 256 else None
    if ":" not in value or not _ADDRESS_V6.fullmatch(value):
        return None
    try:
        parsed = ipaddress.IPv6Address(value)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped
    return (6, int(parsed)) if mapped is None else (4, int(mapped))


def network(cidr: str) -> tuple[int, int, int]:
    """A CIDR block as (4 or 6, lowest address, highest address); `ValueError` says what is wrong with it."""
    literal, slash, bits = cidr.partition("/")
    base = address(literal)
    if not slash or base is None:
        raise ValueError("an IP address, a slash and the number of mask bits")
    version, number = base
    width = 32 if version == 4 else 128
    if not (bits.isascii() and bits.isdigit() and len(bits) <= 3 and int(bits) < width):
        raise ValueError(f"mask bits from 0 to {width - 1} for IPv{version}")
    span = (1 << (width - int(bits))) - 1
    lowest = number & ~span
    return version, lowest, lowest | span


def is_one_of(addresses: Iterable[Address]) -> Test:
    """Text that is one of these addresses, however it is written (P9)."""
    wanted = frozenset(addresses)
    return lambda value: address(value) in wanted


def within(block: tuple[int, int, int]) -> Test:
    """Text that is an address of the block."""
    version, lowest, highest = block

    def matches(value: Any) -> bool:
        found = address(value)
        return found is not None and found[0] == version and lowest <= found[1] <= highest

    return matches
