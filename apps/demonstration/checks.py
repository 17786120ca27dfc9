"""Equations between what was written and what the stores hold. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

EXAMPLES_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One equation: how many were expected and found, whether they are the same, and what differs."""

    name: str
    expected: int
    found: int
    ok: bool
    difference: str = ""


def same(name: str, expected: Iterable[Hashable], found: Iterable[Hashable]) -> Check:
    """Whether two multisets are equal; what differs is told by examples."""
    wanted, got = Counter(expected), Counter(found)
    differences = [
        f"{len(list(difference.elements()))} {word}, such as "
        + ", ".join(str(example) for example in list(difference)[:EXAMPLES_MAX])
        for word, difference in (("missing", wanted - got), ("unexpected or twice", got - wanted))
        if difference
    ]
    return Check(name, wanted.total(), got.total(), not differences, "; ".join(differences))


def none(name: str, counts: Mapping[str, int]) -> Check:
    """Whether all of the counts are zero; those that are not are named."""
    left = {what: count for what, count in counts.items() if count}
    return Check(name, 0, sum(left.values()), not left, ", ".join(f"{what}: {n}" for what, n in sorted(left.items())))


def logged_once(changes: Sequence[tuple[str, int]]) -> Check:
    """Whether a log's changes, each an id and a sequence number, come in the order of the numbers, none twice."""
    numbers = [number for _, number in changes]
    ok = numbers == sorted(set(numbers)) and len({change_id for change_id, _ in changes}) == len(changes)
    return Check("sequence numbers rise, no change is logged twice", len(numbers), len(set(numbers)), ok)
