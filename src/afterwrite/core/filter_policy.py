"""SNS filter policies: which subscriptions a published message goes to (S32)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Literal

import orjson

from afterwrite.core.patterns import SNS_ATTRIBUTES, SNS_BODY, compile
from afterwrite.core.patterns.parsing import Branch
from afterwrite.errors import InvalidPattern

Scope = Literal["MessageAttributes", "MessageBody"]

KEYS_MAX = 5
COMBINATIONS_MAX = 150

_DIALECTS = {"MessageAttributes": SNS_ATTRIBUTES, "MessageBody": SNS_BODY}


class FilterPolicy:
    """A compiled filter policy; immutable. `source` is the policy as it was given.

    Raises `InvalidPattern` for what SNS refuses: an unknown scope, nesting in the attributes' scope, more than
    5 keys (of a nested policy, the outermost), more than 150 combinations of values.
    """

    __slots__ = ("_pattern", "scope", "source")

    def __init__(self, policy: Mapping[str, Any] | str, scope: Scope = "MessageAttributes") -> None:
        dialect = _DIALECTS.get(scope)
        if dialect is None:
            raise InvalidPattern(f"filter policy scope: expected MessageAttributes or MessageBody, found {scope!r}")
        self.scope = scope
        self.source = policy
        self._pattern = compile(policy, dialect)
        _check_size(self._pattern.branches, scope)

    @property
    def paths(self) -> list[str]:
        """What the policy looks at: attributes' names, or the body's paths."""
        return sorted({condition.path for branch in self._pattern.branches for condition in branch})

    def matches(self, attributes: Mapping[str, Any], body: Any) -> bool:
        """Whether a message goes to the subscription.

        `attributes` are plain values: text, numbers, lists (String.Array); bytes (Binary) are not looked at.
        `body` is the message's text, or the object parsed from it; a body that is no JSON object never matches.
        """
        if self.scope == "MessageBody":
            parsed = _parsed(body)
            return isinstance(parsed, Mapping) and self._pattern.matches(parsed)
        return self._pattern.matches(
            {name: value for name, value in attributes.items() if not isinstance(value, bytes | bytearray)}
        )


def _parsed(body: Any) -> Any:
    if not isinstance(body, str | bytes):
        return body
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _check_size(branches: tuple[Branch, ...], scope: Scope) -> None:
    nested = scope == "MessageBody"
    paths = {condition.path for branch in branches for condition in branch}
    keys = {path.partition(".")[0] for path in paths} if nested else paths
    if len(keys) > KEYS_MAX:
        raise InvalidPattern(f"filter policy: expected at most {KEYS_MAX} keys, found {len(keys)}")
    combinations = sum(prod(_values(branch, nested)) for branch in branches)
    if combinations > COMBINATIONS_MAX:
        raise InvalidPattern(
            f"filter policy: expected at most {COMBINATIONS_MAX} combinations of values, found {combinations}"
        )


def _values(branch: Branch, nested: bool) -> list[int]:
    """How much each key counts: its values, times its depth in a nested policy."""
    return [len(condition.leaf.source) * (condition.path.count(".") + 1 if nested else 1) for condition in branch]
