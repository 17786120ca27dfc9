"""afterwrite: say what should happen after each write to a DynamoDB table.

It makes it happen: in order per key, once, with nothing lost, on one machine or on AWS.
"""

from typing import TYPE_CHECKING

from afterwrite.app import App, GlobalIndex, Key
from afterwrite.core.changes import INSERT, MODIFY, REMOVE, Change
from afterwrite.core.conditions import (
    absent,
    anything_but,
    at_least,
    at_most,
    exists,
    less_than,
    more_than,
    prefix,
    suffix,
)
from afterwrite.core.effects import Effect
from afterwrite.core.invocations import Check, Context, Delete, Message, Put, Update, between
from afterwrite.errors import (
    AfterwriteError,
    ConditionalCheckFailed,
    DeclarationError,
    Rejected,
    Throttled,
    TransactionCanceled,
    Unavailable,
)

if TYPE_CHECKING:
    from afterwrite.core.models import ModelRequest
    from afterwrite.core.parked import Selection
    from afterwrite.inspection import open_data
    from afterwrite.targets.email import Email
    from afterwrite.targets.sms import Sms
    from afterwrite.targets.webhook import Webhook
    from afterwrite.wiring import Engine, open_engine

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
    "Email",
    "Engine",
    "GlobalIndex",
    "Key",
    "Message",
    "ModelRequest",
    "Put",
    "Rejected",
    "Selection",
    "Sms",
    "Throttled",
    "TransactionCanceled",
    "Unavailable",
    "Update",
    "Webhook",
    "absent",
    "anything_but",
    "at_least",
    "at_most",
    "between",
    "exists",
    "less_than",
    "more_than",
    "open_data",
    "open_engine",
    "prefix",
    "suffix",
]


_IMPORTED_WHEN_USED = {
    "Email": "afterwrite.targets.email",
    "Engine": "afterwrite.wiring",
    "ModelRequest": "afterwrite.core.models",
    "Selection": "afterwrite.core.parked",
    "Sms": "afterwrite.targets.sms",
    "Webhook": "afterwrite.targets.webhook",
    "open_data": "afterwrite.inspection",
    "open_engine": "afterwrite.wiring",
}


def __getattr__(name: str) -> object:
    """What not every app uses: the embedded engine, whose store and server an import on Lambda must not bring."""
    if name in _IMPORTED_WHEN_USED:
        from importlib import import_module

        return getattr(import_module(_IMPORTED_WHEN_USED[name]), name)
    raise AttributeError(f"module 'afterwrite' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, also of what is imported when it is used."""
    return sorted({*globals(), *__all__})
