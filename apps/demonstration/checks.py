"""Equations between what was written and what the stores hold. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
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
