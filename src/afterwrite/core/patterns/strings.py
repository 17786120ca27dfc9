"""Tests on text: affixes, case folding per character (P10), wildcards (P8), addresses (P9).

Every function here returns a predicate that is false for whatever is not text, and whose time is linear in the
text's length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Test = Callable[[Any], bool]
Address = tuple[int, int]
Block = tuple[str, str]
"""The lowest and the highest address of a block, as hexadecimal digits: 8 of IPv4, 32 of IPv6."""

_ADDRESS_V4 = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_ADDRESS_V4_CHARACTERS_MAX = 15
_ADDRESS_V6 = re.compile(r"[0-9a-fA-F:]+")
_LEADING_ZEROS = re.compile(r"\b0+(?=[0-9a-fA-F])")
_MASK_BITS_CHARACTERS_MAX = 100
_MASK_BITS = re.compile(r"[+-]?[0-9]+")
_BASIC_PLANE_MAX = 0xFFFF


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
    if ord(character) > _BASIC_PLANE_MAX:
        # The reference folds UTF-16 units one by one, and half a surrogate pair is written as a question mark.
        return ["??"]
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


def partial_matches(stretches: Sequence[str]) -> int:
    """How many beginnings of a wildcard pattern a text can be in the midst of at once, as EventBridge counts it.

    Each star stays open, and beside it every stretch after a star that the text's last character begins.
    """
    beginnings = Counter(stretch[0] for stretch in stretches[1:] if stretch)
    return len(stretches) - 1 + max(beginnings.values(), default=0)


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
    """An IP address literal as (4 or 6, number); an IPv4-mapped IPv6 literal is the IPv4 address.

    Numbers may have leading zeros, and are decimal (IPv4) and hexadecimal (IPv6) all the same.
    """
    if not isinstance(value, str):
        return None
    if _ADDRESS_V4.fullmatch(value):
        if len(value) > _ADDRESS_V4_CHARACTERS_MAX:
            return None
        parts = [int(part) for part in value.split(".")]
        return (4, int.from_bytes(bytes(parts), "big")) if max(parts) < 256 else None
    if ":" not in value or not _ADDRESS_V6.fullmatch(value):
        return None
    import ipaddress

    try:
        parsed = ipaddress.IPv6Address(_LEADING_ZEROS.sub("", value))
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped
    return (6, int(parsed)) if mapped is None else (4, int(mapped))


def network(cidr: str) -> Block:
    """A CIDR block; `ValueError` says what is wrong with it."""
    literal, slash, bits = cidr.rstrip("/").partition("/")
    base = address(literal)
    if not slash or base is None:
        raise ValueError("an IP address, a slash and the number of mask bits")
    version, number = base
    width = 32 if version == 4 else 128
    if not (_MASK_BITS.fullmatch(bits) and len(bits) <= _MASK_BITS_CHARACTERS_MAX and 0 <= int(bits) < width):
        raise ValueError(f"mask bits from 0 to {width - 1} for IPv{version}")
    span = (1 << (width - int(bits))) - 1
    lowest = number & ~span
    return _digits((version, lowest)), _digits((version, lowest | span))


def _digits(found: Address) -> str:
    version, number = found
    return f"{number:0{8 if version == 4 else 32}X}"


def _lies_in(digits: str, block: Block) -> bool:
    """Whether `digits` come to lie between the block's, read from the left; what follows then is not looked at.

    So an IPv6 address whose first digits are those of an IPv4 address lies in that one's blocks, too, and the other
    way round where a few digits are enough.
    """
    low, high = block
    read = digits[: len(low)]
    return low <= read <= high and (read == high or not high.startswith(read))


def by_address(
    addresses: Iterable[Address],
    blocks: Iterable[Block],
    others: Test,
    *,
    otherwise: bool,
    written: Callable[[Any], str | None],
) -> Test:
    """Text that is one of these addresses, however it is written, or lies in one of these blocks (P9).

    `others` decides on whatever is no address, and `otherwise` is the verdict on any other address. A value that is
    `written` in digits, as a number, lies in a block by them.
    """
    wanted, networks = frozenset(addresses), tuple(blocks)

    def matches(value: Any) -> bool:
        found = address(value)
        if found is None:
            digits = written(value) if networks else None
            return others(value) or (digits is not None and any(_lies_in(digits, block) for block in networks))
        if otherwise or found in wanted:
            return True
        return any(_lies_in(_digits(found), block) for block in networks)

    return matches
