"""How the service words what is wrong with a request; by the operation, where the request is wrong in itself.

Some operations check their requests in a newer way than others, and say so in other words. Of these the writes of one
item report any such error as they do a broken constraint: with how many were found. A request that the newer way
cannot read, since it lacks a required field or is nested too deep, is checked in the older way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from afterwrite.errors import InvalidRequest, ServiceError

INVALID_PARAMETER: Final = "One or more parameter values were invalid: "
"""What `invalid_parameter` begins with."""
SCAN_OF_VECTORS: Final = "Scan operation not supported on this index type"
NO_REPLICAS: Final = "Replicas are not offered: a table lives in one data directory"
WRITES_OF_ONE_ITEM: Final = frozenset(("PutItem", "UpdateItem", "DeleteItem"))
_REQUIRED_THE_NEWER_WAY: Final[Mapping[str, tuple[str, ...]]] = {
    "PutItem": ("TableName", "Item"),
    "UpdateItem": ("TableName", "Key"),
    "DeleteItem": ("TableName", "Key"),
    "GetItem": ("TableName", "Key"),
    "BatchGetItem": ("RequestItems",),
    "Query": ("TableName",),
    "Scan": ("TableName",),
}
_JSON_LEVELS_MAX: Final = 127
_COUNTED: Final = re.compile(r"[0-9]+ validation errors? detected: ")


def invalid(message: str) -> ServiceError:
    """A ValidationException."""
    return ServiceError("ValidationException", message)


def invalid_parameter(message: str) -> ServiceError:
    """A ValidationException of parameters that are invalid by what they say, or do not go together."""
    return invalid(f"{INVALID_PARAMETER}{message}")


def limit_exceeded(message: str) -> ServiceError:
    """A LimitExceededException."""
    return ServiceError("LimitExceededException", message)


def constraint_error(value: object, field: str, constraint: str) -> ServiceError:
    """The ValidationException of a value that breaks a constraint of the service's model."""
    shown = "null" if value is None else f"'{value}'"
    return invalid(
        f"1 validation error detected: Value {shown} at '{field[0].lower()}{field[1:]}' "
        f"failed to satisfy constraint: {constraint}"
    )


def newer_message(error: ServiceError) -> str:
    """What an operation says of `error` that checks its requests in the newer way."""
    return error.newer_message if isinstance(error, InvalidRequest) else error.message


def is_checked_newer(operation: str, body: Mapping[str, Any]) -> bool:
    """Whether the service checks this request of `operation` in the newer way."""
    required = _REQUIRED_THE_NEWER_WAY.get(operation)
    return (
        required is not None
        and all(body.get(field) is not None for field in required)
        and not _is_nested_deeper(body, _JSON_LEVELS_MAX)
    )


def _is_nested_deeper(value: Any, levels_max: int) -> bool:
    """Whether a JSON value has containers within each other on more levels than `levels_max`."""
    containers = [value]
    for _ in range(levels_max):
        members = [
            member
            for container in containers
            for member in (container.values() if isinstance(container, dict) else container)
        ]
        containers = [member for member in members if isinstance(member, dict | list)]
        if not containers:
            return False
    return True


def worded(operation: str, body: Mapping[str, Any], error: ServiceError) -> ServiceError:
    """The error of a request of `operation`, in the words that the service has for it there."""
    if error.code != "ValidationException" or not is_checked_newer(operation, body):
        return error
    message = newer_message(error)
    if operation in WRITES_OF_ONE_ITEM and not _COUNTED.match(message):
        message = f"1 validation error detected: {message}"
    return error if message == error.message else ServiceError(error.code, message)
