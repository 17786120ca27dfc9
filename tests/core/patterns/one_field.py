"""A pattern of one field, as a predicate on the value of that field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from afterwrite.core.patterns import compile


def predicate_of(matchers: Sequence[Any]) -> Callable[[Any], bool]:
    """Whether a pattern with these matchers matches an event with this value."""
    pattern = compile({"field": list(matchers)})
    return lambda value: pattern.matches({"field": value})
