"""Conditions on an item's attributes as Python sees them: the matchers of event patterns, on exact numbers.

A condition looks at a scalar, and at the scalars in a set or a list, of which one must do; a map counts as absent,
as do empty sets and lists. Numbers are compared with all their digits, which the services cannot do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

from afterwrite.core.invocations import SortKeyRange
from afterwrite.core.patterns.dialects import Dialect
from afterwrite.core.patterns.matchers import ARRAYS, compile_leaf
from afterwrite.core.patterns.numeric import exact_decimal
from afterwrite.core.values import Item, to_python

Number: TypeAlias = int | float | Decimal
Matcher: TypeAlias = str | Number | bool | Mapping[str, Any] | SortKeyRange | None
Matchers: TypeAlias = Matcher | Sequence[Matcher]
"""What a value must be: a value itself, what a function here returns, or a list of alternatives."""

DECODED = Dialect("Route", number=exact_decimal, reads_numbers_or_addresses=False)


def prefix(text: str) -> Mapping[str, Any]:
    """Matches text that starts with `text`."""
    return {"prefix": text}


def suffix(text: str) -> Mapping[str, Any]:
    """Matches text that ends with `text`."""
    return {"suffix": text}


def anything_but(*values: str | Number) -> Mapping[str, Any]:
    """Matches every value but these, which are all texts or all numbers. The attribute must be there."""
    return {"anything-but": list(values)}


def exists() -> Mapping[str, Any]:
    """Matches any value."""
    return {"exists": True}


def absent() -> Mapping[str, Any]:
    """Matches where the attribute is absent, a map, or empty."""
    return {"exists": False}


def less_than(bound: Number) -> Mapping[str, Any]:
    """Matches numbers below `bound`."""
    return {"numeric": ["<", bound]}


def at_most(bound: Number) -> Mapping[str, Any]:
    """Matches numbers up to `bound`, and `bound` itself."""
    return {"numeric": ["<=", bound]}


def more_than(bound: Number) -> Mapping[str, Any]:
    """Matches numbers above `bound`."""
    return {"numeric": [">", bound]}


def at_least(bound: Number) -> Mapping[str, Any]:
    """Matches `bound` and the numbers above it."""
    return {"numeric": [">=", bound]}


def listed(matchers: Matchers) -> list[Any]:
    """The alternatives, as an event pattern has them. A range becomes the numbers from its low to its high end."""
    alternatives = matchers if isinstance(matchers, Sequence) and not isinstance(matchers, str | bytes) else [matchers]
    return [
        {"numeric": [">=", matcher.low, "<=", matcher.high]} if isinstance(matcher, SortKeyRange) else matcher
        for matcher in alternatives
    ]


def may_be_absent(matchers: Matchers, path: str) -> bool:
    """Whether the condition holds where the attribute is absent; `path` names it in errors. Raises `InvalidPattern`."""
    return compile_leaf(listed(matchers), path, DECODED).absent


class Condition(NamedTuple):
    """A condition on one attribute: `on_text` on its text, where it is text, and `holds` on items in the wire form.

    `holds` raises InvalidValue where the attribute is no attribute value.
    """

    attribute: str
    on_text: Callable[[str], bool]
    holds: Callable[[Item], bool]


def compile_condition(matchers: Matchers, attribute: str, path: str) -> Condition:
    """The condition on `attribute`; `path` names it in errors. Raises `InvalidPattern`."""
    compiled = compile_leaf(listed(matchers), path, DECODED)
    test, absent = compiled.test, compiled.absent

    def holds(item: Item) -> bool:
        value = item.get(attribute)
        if value is None:
            return absent
        # Most conditions are on text.
        return test(value["S"]) if "S" in value else _some_scalar(test, absent, to_python(value))

    return Condition(attribute, test, holds)


def _some_scalar(test: Callable[[Any], bool], absent: bool, value: Any) -> bool:
    if isinstance(value, dict):
        return absent
    if isinstance(value, ARRAYS):
        scalars = [element for element in value if not isinstance(element, (dict, *ARRAYS))]
        return any(map(test, scalars)) if scalars else absent
    return test(value)
