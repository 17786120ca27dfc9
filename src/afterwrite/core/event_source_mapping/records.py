"""Records as a mapping handles them, and the event that a function gets of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from afterwrite.core.times import iso_seconds

# Of an invocation's payload (S10).
PAYLOAD_BYTES_MAX: Final = 6 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a shard: `text` is its JSON in the function's event, `lane` which of the shard's lanes it is in.

    One that the filter does not admit only moves the position.
    """

    position: int
    lane: int
    sequence_number: str
    arrived_at_ms: int
    text: bytes
    is_admitted: bool = True


@dataclass(frozen=True, slots=True)
class WindowInvocation:
    """What an invocation of a tumbling window gets beside its records (S11). `state` is JSON text."""

    start_ms: int
    end_ms: int
    state: bytes
    is_final: bool
    ends_early: bool


def event_text(records: Sequence[Record], window: WindowInvocation | None, *, shard_id: str, source_arn: str) -> bytes:
    """The event, as JSON text."""
    listed = b'{"Records":[' + b",".join(record.text for record in records) + b"]"
    if window is None:
        return listed + b"}"
    rest = orjson.dumps(
        {
            "shardId": shard_id,
            "eventSourceARN": source_arn,
            "state": orjson.Fragment(window.state),
            **window_info(window),
        }
    )
    return listed + b"," + rest[1:]


def window_info(window: WindowInvocation) -> dict[str, Any]:
    """What is said of a window wherever it is told of."""
    return {
        "window": {"start": iso_seconds(window.start_ms), "end": iso_seconds(window.end_ms)},
        "isFinalInvokeForWindow": window.is_final,
        "isWindowTerminatedEarly": window.ends_early,
    }


def kinesis_record_text(
    *,
    partition_key: str,
    sequence_number: str,
    data: bytes,
    arrived_at_ms: int,
    shard_id: str,
    stream_arn: str,
) -> bytes:
    """The JSON of a Kinesis record as Lambda delivers it; `data` is base64 text."""
    region, account_id = stream_arn.split(":")[3:5]
    return orjson.dumps(
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": partition_key,
                "sequenceNumber": sequence_number,
                "data": data.decode("ascii"),
                "approximateArrivalTimestamp": arrived_at_ms / 1000,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard_id}:{sequence_number}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": f"arn:aws:iam::{account_id}:role/lambda-role",
            "awsRegion": region,
            "eventSourceARN": stream_arn,
        }
    )
