"""What the service leaves unread of a transaction's members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_EXPRESSIONS = ("ConditionExpression", "UpdateExpression", "ProjectionExpression")
_PLACEHOLDERS = ("ExpressionAttributeNames", "ExpressionAttributeValues")


def without_unread(body: dict[str, Any]) -> dict[str, Any]:
    """The body of a transaction, of its members without an expression without names and values, which nothing uses.

    A request for one item is refused for them.
    """
    members = body.get("TransactItems")
    if not isinstance(members, list) or not any(map(_has_unread, members)):
        return body
    return {**body, "TransactItems": [_read(member) if _has_unread(member) else member for member in members]}


def _has_unread(member: Any) -> bool:
    return isinstance(member, dict) and any(map(_is_unread, member.values()))


def _is_unread(action: Any) -> bool:
    return (
        isinstance(action, dict)
        and any(isinstance(action.get(field), dict) for field in _PLACEHOLDERS)
        and all(action.get(field) is None for field in _EXPRESSIONS)
    )


def _read(member: Mapping[str, Any]) -> dict[str, Any]:
    return {
        kind: {name: value for name, value in action.items() if name not in _PLACEHOLDERS}
        if _is_unread(action)
        else action
        for kind, action in member.items()
    }
