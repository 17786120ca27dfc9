"""What a function is given: its message or request, its context, and the writes it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from afterwrite.core.names import Named, name_of
from afterwrite.core.values import Item, encode_item
from afterwrite.errors import DeclarationError

if TYPE_CHECKING:
    from pathlib import Path

    from afterwrite.core.ports import Services
    from afterwrite.core.table_client import TableClient


@dataclass(frozen=True, slots=True)
class SortKeyRange:
    """Sort keys from `low` to `high`, both included."""

    low: Any
    high: Any


def between(low: Any, high: Any) -> SortKeyRange:
    """Sort keys from `low` to `high`, both included."""
    return SortKeyRange(low, high)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a queue's consumer receives it; `receive_count` is 1 the first time.

    It is 0 where a message is only looked at.
    """

    id: str
    body: Any
    sent_at_ms: int
    subject: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    receive_count: int = 1


@dataclass(frozen=True, slots=True)
class Put:
    """Put `item` into a table, if `condition` holds."""

    table: Named | str
    item: Mapping[str, Any]
    condition: str | None = None
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None

    def to_wire(self) -> dict[str, Any]:
        """The member of TransactWriteItems."""
        return {"Put": {"Item": encode_item(self.item), **_expressions(self)}}


@dataclass(frozen=True, slots=True)
class Update:
    """Update the item with `key` by an UpdateExpression, if `condition` holds."""

    table: Named | str
    key: Mapping[str, Any]
    update: str
    condition: str | None = None
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None

    def to_wire(self) -> dict[str, Any]:
        """The member of TransactWriteItems."""
        body = {"Key": encode_item(self.key), "UpdateExpression": self.update, **_expressions(self)}
        return {"Update": body}


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the item with `key`, if `condition` holds."""

    table: Named | str
    key: Mapping[str, Any]
    condition: str | None = None
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None

    def to_wire(self) -> dict[str, Any]:
        """The member of TransactWriteItems."""
        return {"Delete": {"Key": encode_item(self.key), **_expressions(self)}}


@dataclass(frozen=True, slots=True)
class Check:
    """Let the transaction happen only if `condition` holds for the item with `key`."""

    table: Named | str
    key: Mapping[str, Any]
    condition: str
    names: Mapping[str, str] | None = None
    values: Mapping[str, Any] | None = None

    def to_wire(self) -> dict[str, Any]:
        """The member of TransactWriteItems."""
        return {"ConditionCheck": {"Key": encode_item(self.key), **_expressions(self)}}


def _checked(writes: Any) -> list[Put | Update | Delete | Check]:
    """The writes of a transaction. Raises DeclarationError for what is none."""
    given = list(writes) if isinstance(writes, Iterable) else []
    kinds = [type(each).__name__ for each in given if not isinstance(each, Put | Update | Delete | Check)]
    if kinds or not isinstance(writes, Iterable):
        found = f"a list with {kinds[0]}" if kinds else type(writes).__name__
        raise DeclarationError(
            f"expected a list of Put, Update, Delete and Check to transact, got {found}: write "
            "context.transact([Put(table, item)])"
        )
    return given


def _expressions(write: Put | Update | Delete | Check) -> dict[str, Any]:
    fields: dict[str, Any] = {"TableName": name_of(write.table)}
    if write.condition is not None:
        fields["ConditionExpression"] = write.condition
    return {**fields, **placeholders(write.names, write.values)}


def placeholders(names: Mapping[str, str] | None, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The request fields that bind an expression's names and values (given without their colon or with it)."""
    fields: dict[str, Any] = {}
    if names:
        fields["ExpressionAttributeNames"] = dict(names)
    if values:
        encoded: Item = encode_item(values)
        fields["ExpressionAttributeValues"] = {
            name if name.startswith(":") else f":{name}": value for name, value in encoded.items()
        }
    return fields


class Context:
    """What a function may use, and what it may know of its invocation.

    `invocation_id` stays the same over all attempts, so that what the function does outside can be deduplicated
    by it. `attempt` counts from 1.
    """

    __slots__ = ("_now_ms", "_remaining_ms", "_services", "attempt", "invocation_id")

    def __init__(
        self,
        services: Services,
        *,
        invocation_id: str,
        attempt: int,
        remaining_ms: Callable[[], int],
        now_ms: Callable[[], int],
    ) -> None:
        self._services = services
        self._now_ms = now_ms
        self._remaining_ms = remaining_ms
        self.invocation_id = invocation_id
        self.attempt = attempt

    @property
    def now_ms(self) -> int:
        """The time in milliseconds since the epoch."""
        return self._now_ms()

    @property
    def remaining_ms(self) -> int:
        """How long the attempt may still take."""
        return max(0, self._remaining_ms())

    @property
    def aws_request_id(self) -> str:
        """The invocation's id by Lambda's name."""
        return self.invocation_id

    def get_remaining_time_in_millis(self) -> int:
        """How long the attempt may still take, by Lambda's name."""
        return self.remaining_ms

    def table(self, table: Named | str) -> TableClient:
        """A table as the app declares it, or its name, to read and write."""
        return self._services.table(name_of(table))

    def transact(self, writes: Iterable[Put | Update | Delete | Check]) -> None:
        """Apply all writes or none. Raises TransactionCanceled."""
        self._services.transact([write.to_wire() for write in _checked(writes)])

    def directory(self, name: str) -> Path:
        """A directory for files of the app, made where it is missing."""
        return self._services.directory(name)


class LambdaContext(Context):
    """What Lambda gives a function as its second argument, and what a `Context` offers besides.

    `aws_request_id` stays the same where a batch of records is tried again; what it is divided into has its own.
    """

    __slots__ = ("function_name", "invoked_function_arn")

    function_version = "$LATEST"
    memory_limit_in_mb = "128"
    identity = None
    client_context = None

    def __init__(
        self,
        services: Services,
        *,
        function_name: str,
        function_arn: str,
        request_id: str,
        remaining_ms: Callable[[], int],
        now_ms: Callable[[], int],
        attempt: int = 1,
    ) -> None:
        super().__init__(services, invocation_id=request_id, attempt=attempt, remaining_ms=remaining_ms, now_ms=now_ms)
        self.function_name = function_name
        self.invoked_function_arn = function_arn

    @property
    def log_group_name(self) -> str:
        """Where Lambda would keep the function's log."""
        return f"/aws/lambda/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        """The part of the log that would be this process's."""
        return f"[{self.function_version}]afterwrite"
