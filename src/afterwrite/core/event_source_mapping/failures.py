"""What is said of records that a mapping gives up on: the message for the failure destination (S14, S15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from afterwrite.core.event_source_mapping.parameters import SourceKind
from afterwrite.core.event_source_mapping.records import Record, WindowInvocation, window_info
from afterwrite.core.times import iso_milliseconds, iso_seconds

Condition: TypeAlias = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]
RETRIES_EXHAUSTED: Final = "RetryAttemptsExhausted"
AGE_EXCEEDED: Final = "RecordAgeExceeded"

BATCH_INFO: Final[Mapping[SourceKind, str]] = {"dynamodb": "DDBStreamBatchInfo", "kinesis": "KinesisBatchInfo"}


@dataclass(frozen=True, slots=True)
class MappingIdentity:
    """Whose records they are: the mapping, its function and its stream."""

    uuid: str
    function_arn: str
    stream_arn: str
    source: SourceKind


def failure_message(
    identity: MappingIdentity,
    *,
    shard_id: str,
    records: Sequence[Record],
    condition: Condition,
    invocations: int,
    is_function_error: bool,
    request_id: str,
    at_ms: int,
    window: WindowInvocation | None = None,
) -> dict[str, Any]:
    """The message about records: where they are in the stream, not what is in them (S14).

    Without records it is about the last invocation of a tumbling window (S11).
    """
    message: dict[str, Any] = {
        "requestContext": {
            "requestId": request_id,
            "functionArn": identity.function_arn,
            "condition": condition,
            # Records that were too old at once count as one invocation.
            "approximateInvokeCount": max(1, invocations),
        },
    }
    if condition != AGE_EXCEEDED:
        # A response that names failed records is no error of the function, and the message says so.
        error = "Unhandled" if is_function_error else None
        message["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": error}
    message["version"] = "1.0"
    message["timestamp"] = iso_milliseconds(at_ms)
    message[BATCH_INFO[identity.source]] = {
        "shardId": shard_id,
        **_range(identity.source, records),
        "streamArn": identity.stream_arn,
    }
    if window is not None:
        message["timeWindowInfo"] = window_info(window)
    return message


def _range(source: SourceKind, records: Sequence[Record]) -> dict[str, Any]:
    """Which records of a shard they are; nothing of none."""
    if not records:
        return {}
    # DynamoDB's times are whole seconds, as in its records.
    iso = iso_seconds if source == "dynamodb" else iso_milliseconds
    return {
        "startSequenceNumber": records[0].sequence_number,
        "endSequenceNumber": records[-1].sequence_number,
        "approximateArrivalOfFirstRecord": iso(records[0].arrived_at_ms),
        "approximateArrivalOfLastRecord": iso(records[-1].arrived_at_ms),
        "batchSize": len(records),
    }


def object_key(identity: MappingIdentity, *, shard_id: str, at_ms: int, unique: str) -> str:
    """The key under which S3 gets the message with its payload (S14)."""
    at = iso_seconds(at_ms)
    day, time = at[:10], at[11:19].replace(":", ".")
    return f"aws/lambda/{identity.uuid}/{shard_id}/{day.replace('-', '/')}/{day}T{time}-{unique}"
