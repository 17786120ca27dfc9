"""What the remote targets have in common: one request, one result an entry, every error of one kind."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from afterwrite.core import json_text
from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import StampedEffect
from afterwrite.core.failure_kinds import Kind
from afterwrite.core.lambda_events import ID_ATTRIBUTE, TEXT_ATTRIBUTE
from afterwrite.core.lanes import digest
from afterwrite.core.target_failures import TargetFailure, kind_of_code
from afterwrite.core.uuids import uuid_of

_CONNECT_TIMEOUT_S: Final = 3
_READ_TIMEOUT_S: Final = 10
_CONNECTIONS: Final = 16


class EntryError(NamedTuple):
    """What a service says about an entry that it did not take; `sender_fault` where it says whose fault that is."""

    code: str
    message: str
    sender_fault: bool | None = None


class RemoteTarget:
    """The Target over a boto3 client.

    Subclasses set the limits of a request, the actions that a role must allow, and whether the service keeps the
    order of what it is sent; they turn an effect into an entry and carry out one request.
    """

    service: ClassVar[str]
    limits: ClassVar[Limits]
    actions: ClassVar[tuple[str, ...]]
    keeps_order: ClassVar[bool] = True

    def __init__(self, name: str, client: Callable[[], Any]) -> None:
        self.name = name
        self._client = client

    def entry(self, stamped: StampedEffect) -> Entry:
        """The effect as it is sent. Raises AfterwriteError or TypeError for one that the service cannot hold."""
        raise NotImplementedError

    def _request(self, client: Any, entries: Sequence[Entry]) -> Sequence[EntryError | None]:
        """Carry out one request; what the service says about each entry."""
        raise NotImplementedError

    def send(self, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        """Perform the entries of one request; why each failed, None for one that did not."""
        failures = self._send(entries)
        refused = len(entries) > 1 and all(failure and failure.kind == "rejected" for failure in failures)
        if not refused:
            return failures
        # A request may be refused whole for one of its entries, which is then found by sending each alone.
        return [self._send([entry])[0] for entry in entries]

    def _send(self, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        too_large = next((entry for entry in entries if entry.size_bytes > self.limits.entry_bytes), None)
        if too_large is not None:
            message = f"expected at most {self.limits.entry_bytes} bytes, got {too_large.size_bytes}"
            return [TargetFailure(self.name, "rejected", "EntryTooLarge", message)] * len(entries)
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            results = self._request(self._client(), entries)
        except ClientError as error:
            return [failure_of(self.name, error)] * len(entries)
        except BotoCoreError as error:
            return [TargetFailure(self.name, kind_without_answer(error), type(error).__name__, str(error))] * len(
                entries
            )
        return [
            None
            if result is None
            else TargetFailure(
                self.name, kind_of_code(result.code, sender_fault=result.sender_fault), result.code, result.message
            )
            for result in results
        ]


def entry_errors(answers: Sequence[Mapping[str, Any]]) -> Sequence[EntryError | None]:
    """What a service says about each entry, in their order, where it answers each with an `ErrorCode` or without."""
    return [
        EntryError(each["ErrorCode"], each.get("ErrorMessage") or "") if each.get("ErrorCode") else None
        for each in answers
    ]


def failed_ids(answer: Mapping[str, Any], count: int) -> Sequence[EntryError | None]:
    """The same where a service lists those that failed, by their `Id`, which is their number."""
    failed = {each["Id"]: each for each in answer.get("Failed", ())}
    return [
        EntryError(each["Code"], each.get("Message") or "", bool(each.get("SenderFault"))) if each else None
        for each in (failed.get(str(number)) for number in range(count))
    ]


def failure_of_request(name: str, request: Callable[[], Any]) -> TargetFailure | None:
    """Make one request of a boto3 client; why it failed, None where it did not."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        request()
    except ClientError as error:
        return failure_of(name, error)
    except BotoCoreError as error:
        return TargetFailure(name, kind_without_answer(error), type(error).__name__, str(error))
    return None


def client_from_environment(service: str) -> Callable[[], Any]:
    """What gives the boto3 client of a service, made once, when it is first used, from the environment's settings."""
    return functools.partial(_client, service)


_clients_lock: Final = threading.Lock()


def _client(service: str) -> Any:
    with _clients_lock:  # boto3's session is not made for threads
        return _made_client(service)


@functools.cache
def _made_client(service: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def failure_of(name: str, error: Any) -> TargetFailure:
    """The failure in a botocore ClientError."""
    code, message, status = error_parts(error)
    return TargetFailure(name, kind_of_code(code, status=status), code, message)


def error_parts(error: Any) -> tuple[str, str, int]:
    """Code, message and HTTP status of a botocore ClientError."""
    detail = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return str(detail.get("Code", "Unknown")), str(detail.get("Message", error)), int(status)


def kind_without_answer(error: Any) -> Kind:
    """The kind of an error before or instead of an answer."""
    from botocore import exceptions

    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "permission"
    if isinstance(error, exceptions.ParamValidationError):
        return "rejected"
    return "unavailable"


def text_of(value: Any) -> tuple[str, bool]:
    """A message's text, and whether the message is that text itself rather than something as JSON."""
    return (value, True) if isinstance(value, str) else (json_text.dumps(value).decode(), False)


def message_attributes(stamped: StampedEffect, attributes: Mapping[str, Any], *, is_text: bool) -> dict[str, Any]:
    """The attributes of a message of SNS or SQS: those given, and the effect's id."""
    encoded: dict[str, Any] = {name: _attribute(value) for name, value in attributes.items()}
    encoded[ID_ATTRIBUTE] = {"DataType": "String", "StringValue": stamped.id}
    if is_text:
        encoded[TEXT_ATTRIBUTE] = {"DataType": "String", "StringValue": "1"}
    return encoded


def _attribute(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"DataType": "String", "StringValue": value}
    if isinstance(value, bytes):
        return {"DataType": "Binary", "BinaryValue": value}
    text = json_text.dumps(value).decode()
    if isinstance(value, bool) or not isinstance(value, list | tuple | set | frozenset):
        is_number = not isinstance(value, bool) and value is not None
        return {"DataType": "Number" if is_number else "String", "StringValue": text}
    return {"DataType": "String.Array", "StringValue": text}


def attributes_size(attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """The bytes that message attributes count for: names, types and values."""
    return sum(
        len(name.encode()) + sum(len(part if isinstance(part, bytes) else part.encode()) for part in value.values())
        for name, value in attributes.items()
    )


def group_id(stamped: StampedEffect) -> str:
    """The message group or partition key of a lane, which does not show the lane's key."""
    return digest(stamped.lane).hex()


def deduplication_id(stamped: StampedEffect) -> str:
    """The id, of at most 128 characters, by which a FIFO service knows an effect again."""
    return uuid_of(stamped.id)
