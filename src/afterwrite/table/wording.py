"""How the service words what is wrong with a request in itself, before it looks for a table: by the operation.

Some operations check their requests in a newer way than others, and say so in other words. Of these the writes of one
item report any such error as they do a broken constraint: with how many were found.
"""

from __future__ import annotations

import re
from typing import Final

from afterwrite.errors import InvalidRequest, ServiceError

_WRITES_OF_ONE_ITEM: Final = frozenset(("PutItem", "UpdateItem", "DeleteItem"))
_CHECKED_THE_NEWER_WAY: Final = _WRITES_OF_ONE_ITEM | {"GetItem", "BatchGetItem", "Query"}
_COUNTED: Final = re.compile(r"[0-9]+ validation errors? detected: ")


def newer_message(error: ServiceError) -> str:
    """What an operation says of `error` that checks its requests in the newer way."""
    return error.newer_message if isinstance(error, InvalidRequest) else error.message


def worded(operation: str, error: ServiceError) -> ServiceError:
    """The error of a request of `operation`, in the words that the service has for it there."""
    if error.code != "ValidationException":
        return error
    message = newer_message(error) if operation in _CHECKED_THE_NEWER_WAY else error.message
    if operation in _WRITES_OF_ONE_ITEM and not _COUNTED.match(message):
        message = f"1 validation error detected: {message}"
    return error if message == error.message else ServiceError(error.code, message)
