"""The ledger in a DynamoDB table: conditional writes, and a time to live that forgets."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Final

from afterwrite.core.ports import Begun, Completed, InProgress, Record
from afterwrite.core.uuids import uuid_of
from afterwrite.errors import ConditionalCheckFailed
from afterwrite.remote.dynamodb_client import Client, StateTable

PARTITION_KEY: Final = "pk"
TTL_ATTRIBUTE: Final = "expires_at"
_KEY_BYTES_MAX: Final = 1_024
# A record in progress outlives its lease by this, so that the count of its attempts does.
_OPEN_MS: Final = 7 * 86_400_000


class DynamoDBLedger:
    """The Ledger in `table`, whose partition key is `pk` (S), with a time to live in `expires_at` (epoch seconds).

    An expired record counts as none, whether the service has deleted it yet or not.
    """

    actions: ClassVar[tuple[str, ...]] = (
        "dynamodb:BatchGetItem",
        "dynamodb:BatchWriteItem",
        "dynamodb:GetItem",
        "dynamodb:UpdateItem",
    )

    def __init__(self, client: Callable[[], Client], table: str, *, now_ms: Callable[[], int]) -> None:
        self._table = StateTable(client, table)
        self._now_ms = now_ms

    def begin(self, consumer: str, message_id: str, *, lease_ms: int) -> Begun | InProgress | Completed:
        """Begin a message, for `lease_ms`."""
        now_ms = self._now_ms()
        until_ms = now_ms + lease_ms
        holder = uuid.uuid4().hex
        try:
            found = self._table.call(
                "UpdateItem",
                Key=_key(consumer, message_id),
                UpdateExpression="SET lease_until_ms = :until, holder = :holder, expires_at = :expires "
                "ADD attempts :one",
                ConditionExpression="(attribute_not_exists(done) "
                "AND (attribute_not_exists(lease_until_ms) OR lease_until_ms <= :now)) OR expires_at <= :now_s",
                ExpressionAttributeValues={
                    ":until": _number(until_ms),
                    ":holder": {"S": holder},
                    ":expires": _number((until_ms + _OPEN_MS) // 1000),
                    ":one": _number(1),
                    ":now": _number(now_ms),
                    ":now_s": _number(now_ms // 1000),
                },
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )["Attributes"]
        except ConditionalCheckFailed as failed:
            found = failed.item or self._get(consumer, message_id)
            # Where an answer is lost boto3 asks again, and finds what it has begun itself.
            if found.get("holder") != {"S": holder}:
                return _held(found, until_ms)
        if "done" in found:  # an expired record, begun anew
            self._forget_result(consumer, message_id)
        return Begun(int(found["attempts"]["N"]), until_ms)

    def complete(self, consumer: str, message_id: str, *, keep_ms: int, result: bytes = b"null") -> None:
        """Record that a message is done, with its result (JSON text), for `keep_ms`."""
        self._table.call(
            "UpdateItem",
            Key=_key(consumer, message_id),
            UpdateExpression="SET done = :true, #result = :result, expires_at = :expires REMOVE lease_until_ms",
            ExpressionAttributeNames={"#result": "result"},
            ExpressionAttributeValues={
                ":true": {"BOOL": True},
                ":result": {"B": base64.b64encode(result).decode()},
                ":expires": self._expires(keep_ms),
            },
        )

    def fail(self, consumer: str, message_id: str, begun: Begun, *, keep_ms: int) -> None:
        """End an attempt without a result, so that another may begin at once; the count of attempts is kept."""
        try:
            self._table.call(
                "UpdateItem",
                Key=_key(consumer, message_id),
                UpdateExpression="SET expires_at = :expires REMOVE lease_until_ms",
                ConditionExpression="lease_until_ms = :mine",
                ExpressionAttributeValues={":mine": _number(begun.lease_until_ms), ":expires": self._expires(keep_ms)},
            )
        except ConditionalCheckFailed:
            return  # another has begun it since, or it is done

    def look(self, consumer: str, message_ids: Collection[str]) -> Mapping[str, Record]:
        """The records of many messages; those without one are left out."""
        ids = {_key_text(consumer, message_id): message_id for message_id in message_ids}
        now_s = self._now_ms() // 1000
        projection = {"ProjectionExpression": "pk, done, failures, parts, expires_at"}
        return {
            ids[item[PARTITION_KEY]["S"]]: Record(
                done="done" in item,
                failures=int(item["failures"]["N"]) if "failures" in item else 0,
                parts=frozenset(item["parts"]["SS"]) if "parts" in item else frozenset(),
            )
            for item in self._table.get_all([{PARTITION_KEY: {"S": key}} for key in ids], projection)
            if int(item[TTL_ATTRIBUTE]["N"]) > now_s
        }

    def complete_all(self, consumer: str, message_ids: Collection[str], *, keep_ms: int) -> None:
        """Record that many messages are done."""
        done = {"done": {"BOOL": True}, TTL_ATTRIBUTE: self._expires(keep_ms)}
        self._table.put_all([{**_key(consumer, message_id), **done} for message_id in dict.fromkeys(message_ids)])

    def note(self, consumer: str, message_id: str, *, failures: int, parts: Collection[str], keep_ms: int) -> int:
        """Add failures to a message's count, and parts to those that were done; how many failures it is now."""
        values: dict[str, Any] = {":failures": _number(failures), ":expires": self._expires(keep_ms)}
        added = "failures :failures"
        if parts:
            values[":parts"] = {"SS": sorted(parts)}
            added += ", parts :parts"
        answer = self._table.call(
            "UpdateItem",
            Key=_key(consumer, message_id),
            UpdateExpression=f"SET expires_at = :expires ADD {added}",
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW",
        )
        return int(answer["Attributes"]["failures"]["N"])

    def _get(self, consumer: str, message_id: str) -> Mapping[str, Any]:
        answer = self._table.call("GetItem", Key=_key(consumer, message_id), ConsistentRead=True)
        return dict(answer.get("Item", {}))

    def _forget_result(self, consumer: str, message_id: str) -> None:
        self._table.call(
            "UpdateItem",
            Key=_key(consumer, message_id),
            UpdateExpression="REMOVE done, #result",
            ExpressionAttributeNames={"#result": "result"},
        )

    def _expires(self, keep_ms: int) -> dict[str, str]:
        return _number(-(-(self._now_ms() + keep_ms) // 1000))


def _held(found: Mapping[str, Any], until_ms: int) -> InProgress | Completed:
    if "done" in found:
        return Completed(_bytes(found.get("result")) or b"null")
    return InProgress(int(found["lease_until_ms"]["N"]) if "lease_until_ms" in found else until_ms)


def _key(consumer: str, message_id: str) -> dict[str, Any]:
    return {PARTITION_KEY: {"S": _key_text(consumer, message_id)}}


def _key_text(consumer: str, message_id: str) -> str:
    text = f"{consumer}/{message_id}"
    return text if len(text.encode()) <= _KEY_BYTES_MAX else f"{consumer}/{uuid_of(message_id)}"


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def _bytes(value: Mapping[str, Any] | None) -> bytes | None:
    return None if value is None else base64.b64decode(value["B"])
