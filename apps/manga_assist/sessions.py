"""The chat backend's write side: each operation on a session is one DynamoDB transaction.

A turn's number is part of its key and conditional on the session's turn count, so two writers in one
conversation never share or skip a number. A transaction whose answer was lost (a broken connection, a server
that died after its commit) is sent again until its fate is known, under one token, by which DynamoDB knows it again for
ten minutes. After that, too: every item carries the `request_id` of the call that wrote it, and a call that finds its
own item under the key it wanted has succeeded before.

    SessionError
    ├── UnknownSession    no such session: start it first
    ├── SessionEnded      the session is disconnected: start a new one
    └── SessionExists     the id is taken by another session: choose another id
"""

from __future__ import annotations

import threading
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from demonstration.certain_writes import CertainWrites
from manga_assist import keys
from manga_assist.statuses import ACTIVE, DISCONNECTED, HANDED_OFF

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_REMEMBERED_SESSIONS_MAX: Final = 10_000

_Item = Mapping[str, Any]


class SessionError(Exception):
    """The root of the tree."""


class UnknownSession(SessionError):
    """No such session."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} does not exist: start it first")


class SessionEnded(SessionError):
    """The session is disconnected."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} is disconnected: start a new one")


class SessionExists(SessionError):
    """The id is taken by another session."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} exists already: choose another id")


@dataclass(frozen=True, slots=True)
class _Known:
    """What the last answer about a session said; another writer may have moved on since."""

    customer_id: str
    turn_count: int


class _Refused(Exception):
    """A condition of the transaction did not hold."""


class Sessions:
    """Starts, continues, hands off and ends sessions. Safe for use by several threads.

    `dynamodb_client` is boto3's low-level client. Times are milliseconds since the epoch. A call that cannot
    learn its transaction's fate for `retry_for_s` seconds raises botocore's last error.
    """

    def __init__(
        self,
        dynamodb_client: DynamoDBClient,
        table_name: str,
        *,
        retention_s: int = 86_400,
        retry_for_s: float = 30.0,
    ) -> None:
        self._writes = CertainWrites(dynamodb_client, retry_for_s=retry_for_s)
        self._table = table_name
        self._retention_s = retention_s
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, session_id: str, customer_id: str, now_ms: int, *, retention_s: int | None = None) -> None:
        """Begin a session; its items are kept for `retention_s` seconds after it ends. Raises SessionExists."""
        request_id = _request_id()
        kept_s = self._retention_s if retention_s is None else retention_s
        meta = {
            "customer_id": {"S": customer_id},
            "status": {"S": ACTIVE},
            "turn_count": {"N": "0"},
            "created_at_ms": {"N": str(now_ms)},
            "updated_at_ms": {"N": str(now_ms)},
            "retention_s": {"N": str(kept_s)},
        }
        try:
            self._transact([self._put(session_id, keys.META, request_id, meta)])
        except _Refused:
            if not self._is_own(session_id, keys.META, request_id):
                raise SessionExists(session_id) from None
        self._remember(session_id, _Known(customer_id, 0))

    def add_turn(self, session_id: str, role: str, text: str, now_ms: int) -> int:
        """Append a turn and return its number, counted from 1. Raises UnknownSession or SessionEnded."""
        request_id = _request_id()
        content = zlib.compress(text.encode("utf-8"))
        known = self._recall(session_id)
        while True:
            number = known.turn_count + 1
            key = keys.turn(number)
            turn = {
                "turn_number": {"N": str(number)},
                "role": {"S": role},
                "content_compressed": {"B": content},
                "created_at_ms": {"N": str(now_ms)},
            }
            count = self._update_meta(
                session_id,
                "SET turn_count = :number, updated_at_ms = :now",
                "turn_count = :before AND #status <> :disconnected",
                {
                    ":number": {"N": str(number)},
                    ":now": {"N": str(now_ms)},
                    ":before": {"N": str(known.turn_count)},
                    ":disconnected": {"S": DISCONNECTED},
                },
            )
            try:
                self._transact([count, self._put(session_id, key, request_id, turn)])
            except _Refused:
                # The count only grows: once a turn stands under the key, no earlier attempt for that number
                # can still succeed, so either the turn is this call's own or the next number is free to try.
                if not self._is_own(session_id, key, request_id):
                    known = self._read_anew(session_id, known)
                    continue
            self._remember(session_id, replace(known, turn_count=number))
            return number

    def hand_off(self, session_id: str, reason: str, agent_id: str | None, now_ms: int) -> str:
        """Hand the session to people, `agent_id` when one is assigned; return the hand-off's sort key.

        A session can be handed off again, to be escalated for instance. Raises UnknownSession or SessionEnded.
        """
        request_id = _request_id()
        known = self._recall(session_id)
        at_ms = now_ms
        while True:
            key = keys.handoff(at_ms)
            handoff = {
                "reason": {"S": reason},
                "customer_id": {"S": known.customer_id},
                "created_at_ms": {"N": str(at_ms)},
            }
            if agent_id is not None:
                handoff["agent_id"] = {"S": agent_id}
            status = self._update_meta(
                session_id,
                "SET #status = :handoff, updated_at_ms = :now",
                "#status IN (:active, :handoff)",
                {
                    ":handoff": {"S": HANDED_OFF},
                    ":active": {"S": ACTIVE},
                    ":now": {"N": str(now_ms)},
                },
            )
            try:
                self._transact([status, self._put(session_id, key, request_id, handoff)])
            except _Refused:
                if not self._is_own(session_id, key, request_id):
                    known = self._read(session_id)
                    at_ms += 1  # another hand-off of the session stands at this very millisecond
                    continue
            return key

    def disconnect(self, session_id: str, now_ms: int) -> None:
        """End the session; ending it twice changes nothing. Raises UnknownSession."""
        end = self._update_meta(
            session_id,
            "SET #status = :disconnected, updated_at_ms = :now, ended_at_ms = :now",
            "#status IN (:active, :handoff)",
            {
                ":disconnected": {"S": DISCONNECTED},
                ":active": {"S": ACTIVE},
                ":handoff": {"S": HANDED_OFF},
                ":now": {"N": str(now_ms)},
            },
        )
        try:
            self._transact([end])
        except _Refused:
            if self._get(session_id, keys.META) is None:
                raise UnknownSession(session_id) from None
        with self._lock:
            self._known.pop(session_id, None)

    def _put(self, session_id: str, sort_key: str, request_id: str, attributes: _Item) -> _Item:
        item = {
            "PK": {"S": keys.partition(session_id)},
            "SK": {"S": sort_key},
            "request_id": {"S": request_id},
            **attributes,
        }
        return {
            "Put": {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": "attribute_not_exists(SK)",
            }
        }

    def _update_meta(self, session_id: str, update: str, condition: str, values: _Item) -> _Item:
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(session_id, keys.META),
                "UpdateExpression": update,
                "ConditionExpression": condition,
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": values,
            }
        }

    def _recall(self, session_id: str) -> _Known:
        with self._lock:
            known = self._known.get(session_id)
        return known or self._read(session_id)

    def _remember(self, session_id: str, known: _Known) -> None:
        with self._lock:
            self._known[session_id] = known
            self._known.move_to_end(session_id)
            if len(self._known) > _REMEMBERED_SESSIONS_MAX:
                self._known.popitem(last=False)

    def _read(self, session_id: str) -> _Known:
        meta = self._get(session_id, keys.META)
        if meta is None:
            raise UnknownSession(session_id)
        if meta["status"]["S"] == DISCONNECTED:
            raise SessionEnded(session_id)
        return _Known(meta["customer_id"]["S"], int(meta["turn_count"]["N"]))

    def _read_anew(self, session_id: str, before: _Known) -> _Known:
        known = self._read(session_id)
        if known.turn_count == before.turn_count:
            raise SessionError(
                f"session {session_id!r} counts {known.turn_count} turns, yet its next turn exists already: "
                "an earlier session of that id left it, or another program wrote it; choose another id"
            )
        return known

    def _is_own(self, session_id: str, sort_key: str, request_id: str) -> bool:
        item = self._get(session_id, sort_key)
        return item is not None and item["request_id"]["S"] == request_id

    def _get(self, session_id: str, sort_key: str) -> _Item | None:
        answer = self._writes.until_answered(
            self._writes.client.get_item,
            TableName=self._table,
            Key=_key(session_id, sort_key),
            ConsistentRead=True,
        )
        item: _Item | None = answer.get("Item")
        return item

    def _transact(self, writes: list[_Item]) -> None:
        """Send one transaction until its fate is known. Raises _Refused when a condition did not hold.

        By its token an attempt whose answer was lost is known again, also where the session has expired since.
        """
        send = self._writes.client.transact_write_items
        try:
            self._writes.until_answered(send, TransactItems=writes, ClientRequestToken=_request_id())
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "TransactionCanceledException":
                raise _Refused from error
            raise


def _key(session_id: str, sort_key: str) -> dict[str, Any]:
    return {"PK": {"S": keys.partition(session_id)}, "SK": {"S": sort_key}}


def _request_id() -> str:
    return uuid.uuid4().hex
