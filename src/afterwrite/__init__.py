"""afterwrite: say what should happen after each write to a DynamoDB table.

It makes it happen: in order per key, once, with nothing lost, on one machine or on AWS.
"""

from typing import TYPE_CHECKING

from afterwrite.app import App, Key
from afterwrite.core.changes import INSERT, MODIFY, REMOVE, Change
from afterwrite.core.effects import Effect
from afterwrite.core.invocations import Check, Context, Delete, Message, Put, Update, between
from afterwrite.core.routes import prefix
from afterwrite.errors import (
    AfterwriteError,
    ConditionalCheckFailed,
    DeclarationError,
    TransactionCanceled,
)

if TYPE_CHECKING:
    from afterwrite.inspection import open_data

__all__ = [
    "INSERT",
    "MODIFY",
    "REMOVE",
    "AfterwriteError",
    "App",
    "Change",
    "Check",
    "ConditionalCheckFailed",
    "Context",
    "DeclarationError",
    "Delete",
    "Effect",
    "Key",
    "Message",
    "Put",
    "TransactionCanceled",
    "Update",
    "between",
    "open_data",
    "prefix",
]


def __getattr__(name: str) -> object:
    """`open_data` is imported when it is used: it brings the store, which an import on Lambda must not."""
    if name == "open_data":
        from afterwrite.inspection import open_data

        return open_data
    raise AttributeError(f"module 'afterwrite' has no attribute {name!r}")
