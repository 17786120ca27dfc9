"""Every exception that afterwrite raises, in one tree.

    AfterwriteError
    ├── DeclarationError          an app is declared wrongly: mend the declaration
    │   └── InvalidPattern        an event pattern or filter policy its service would reject: mend the pattern
    ├── InvalidValue              a value that DynamoDB or an effect cannot hold: mend the value
    ├── CommandError              a command asks for what is not there: mend the command, or start the engine
    ├── TargetError               raised by a function to say how its target failed
    │   ├── Throttled             it takes no more now: tried again later, costs no attempt
    │   ├── Unavailable           it does not answer: tried again, and the target is left alone for a while
    │   └── Rejected              it refuses this and would again: given up at once
    ├── StorageError              the data directory cannot serve
    │   ├── DataDirectoryInUse    another engine holds it: stop that one, or choose another directory
    │   ├── StorageFull           no space left: nothing of the request was kept; free space, then send it again
    │   └── CorruptData           bytes that cannot be what was written: restore from a backup
    └── ServiceError              an AWS-shaped error answer, with its code, message and HTTP status
        ├── ConditionalCheckFailed    the item did not meet the request's condition
        ├── EmptyKey                  a key attribute without a character or byte
        ├── InvalidRequest            a request that is wrong in itself, which some operations say in other words
        └── TransactionCanceled       one reason an item of the transaction

A message says what was expected, what came, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class AfterwriteError(Exception):
    """The root of the tree."""


class DeclarationError(AfterwriteError):
    """An app is declared wrongly."""


class InvalidValue(AfterwriteError):
    """A value that DynamoDB or an effect cannot hold."""


class InvalidPattern(DeclarationError):
    """An event pattern or filter policy that its service would reject."""


class CommandError(AfterwriteError):
    """A command asks for what is not there, or for what needs a running engine."""


class TargetError(AfterwriteError):
    """A function raises one of these to say how the target of its side effects failed."""


class Throttled(TargetError):
    """The target takes no more now; `retry_after_s` is how long (s) it asks to be left alone, if it does."""

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(TargetError):
    """The target does not answer; `retry_after_s` as with Throttled."""

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Rejected(TargetError):
    """The target refuses this, and would refuse it again."""


class StorageError(AfterwriteError):
    """The data directory cannot serve."""


class DataDirectoryInUse(StorageError):
    """Another engine holds the data directory."""


class StorageFull(StorageError):
    """No space left: nothing of the request was kept."""


class CorruptData(StorageError):
    """Bytes that cannot be what was written."""


class ServiceError(AfterwriteError):
    """An AWS-shaped error answer.

    `code` is the service's name for it (`ResourceNotFoundException`), `message` the service's words,
    `status` the HTTP status, `fields` what else the answer's body carries, `headers` what its head does.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 400,
        fields: Mapping[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields: Mapping[str, Any] = fields or {}
        self.headers = headers


class ConditionalCheckFailed(ServiceError):
    """The item did not meet the request's condition; `item` is the old item where the request asked for it."""

    def __init__(self, item: Mapping[str, Any] | None = None) -> None:
        super().__init__(
            "ConditionalCheckFailedException",
            "The conditional request failed",
            fields={"Item": item} if item else None,
        )
        self.item = item


class EmptyKey(ServiceError):
    """A key attribute, of a table or of an index, that is empty. It refuses a whole transaction, not one member."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", f"One or more parameter values are not valid. {message}")


class InvalidRequest(ServiceError):
    """A request that is wrong in itself; `newer_message` is what operations say that check it in the newer way."""

    def __init__(self, message: str, newer_message: str) -> None:
        super().__init__("ValidationException", message)
        self.newer_message = newer_message


class TransactionCanceled(ServiceError):
    """A transaction that did not happen; `reasons` has one entry an item, `{"Code": "None"}` where it was fine."""

    def __init__(self, reasons: Sequence[Mapping[str, Any]]) -> None:
        codes = ", ".join(str(reason["Code"]) for reason in reasons)
        super().__init__(
            "TransactionCanceledException",
            f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
            fields={"CancellationReasons": list(reasons)},
        )
        self.reasons = list(reasons)
