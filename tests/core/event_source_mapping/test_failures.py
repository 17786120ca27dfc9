"""The message about records that were given up on, word for word (S14, S15)."""

from __future__ import annotations

import orjson

from afterwrite.core.event_source_mapping.failures import MappingIdentity, failure_message, object_key
from afterwrite.core.event_source_mapping.records import Record, WindowInvocation, event_text, kinesis_record_text

STREAM_ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/things/stream/2023-11-14T22:13:20.000"
KINESIS_ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/things"
FUNCTION_ARN = "arn:aws:lambda:eu-west-1:123456789012:function:route"
TABLE = MappingIdentity("5f2d0e1c-8a36-4d31-9c6b-d1a2b3c4d5e6", FUNCTION_ARN, STREAM_ARN, "dynamodb")
KINESIS = MappingIdentity("5f2d0e1c-8a36-4d31-9c6b-d1a2b3c4d5e6", FUNCTION_ARN, KINESIS_ARN, "kinesis")
AT_MS = 1_700_000_060_007
RECORDS = (
    Record(1, 0, "100000000000000000001", 1_700_000_000_123, b'{"eventID":"1"}'),
    Record(2, 0, "100000000000000000002", 1_700_000_001_456, b'{"eventID":"2"}'),
)


def test_retries_of_a_table_s_records_are_exhausted_s14() -> None:
    message = failure_message(
        TABLE,
        shard_id="shardId-00000001700000000000-0000000a",
        records=RECORDS,
        condition="RetryAttemptsExhausted",
        invocations=3,
        is_function_error=True,
        request_id="0b0f2c4e-2c8d-4c44-8f6e-1f8e5e1a2b3c",
        at_ms=AT_MS,
    )
    assert message == {
        "requestContext": {
            "requestId": "0b0f2c4e-2c8d-4c44-8f6e-1f8e5e1a2b3c",
            "functionArn": FUNCTION_ARN,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 3,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2023-11-14T22:14:20.007Z",
        "DDBStreamBatchInfo": {
            "shardId": "shardId-00000001700000000000-0000000a",
            "startSequenceNumber": "100000000000000000001",
            "endSequenceNumber": "100000000000000000002",
            "approximateArrivalOfFirstRecord": "2023-11-14T22:13:20Z",
            "approximateArrivalOfLastRecord": "2023-11-14T22:13:21Z",
            "batchSize": 2,
            "streamArn": STREAM_ARN,
        },
    }


def test_records_of_kinesis_that_are_too_old_have_no_response_s15() -> None:
    message = failure_message(
        KINESIS,
        shard_id="shardId-000000000001",
        records=RECORDS,
        condition="RecordAgeExceeded",
        invocations=0,
        is_function_error=False,
        request_id="r",
        at_ms=AT_MS,
    )
    assert "responseContext" not in message
    assert message["requestContext"]["condition"] == "RecordAgeExceeded"
    # Recorded of AWS: records that were never delivered, as they were too old at once, count as one invocation.
    assert message["requestContext"]["approximateInvokeCount"] == 1
    assert message["KinesisBatchInfo"]["approximateArrivalOfFirstRecord"] == "2023-11-14T22:13:20.123Z"
    assert "DDBStreamBatchInfo" not in message


def test_a_reported_failure_is_no_error_of_the_function_s14() -> None:
    message = failure_message(
        TABLE,
        shard_id="s",
        records=RECORDS,
        condition="RetryAttemptsExhausted",
        invocations=1,
        is_function_error=False,
        request_id="r",
        at_ms=AT_MS,
    )
    assert message["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": None}


def test_what_failed_in_a_tumbling_window_names_the_window_s14() -> None:
    window = WindowInvocation(1_700_000_000_000, 1_700_000_030_000, b'{"a":1}', False, False)
    message = failure_message(
        TABLE,
        shard_id="s",
        records=RECORDS,
        condition="RetryAttemptsExhausted",
        invocations=1,
        is_function_error=True,
        request_id="r",
        at_ms=AT_MS,
        window=window,
    )
    assert message["DDBStreamBatchInfo"]["batchSize"] == 2
    assert message["timeWindowInfo"] == {
        "window": {"start": "2023-11-14T22:13:20Z", "end": "2023-11-14T22:13:50Z"},
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
    }


def test_a_window_s_last_invocation_names_no_records_s14() -> None:
    """Recorded of AWS: the shard and the stream are all that is said of the batch."""
    message = failure_message(
        TABLE,
        shard_id="s",
        records=(),
        condition="RetryAttemptsExhausted",
        invocations=1,
        is_function_error=True,
        request_id="r",
        at_ms=AT_MS,
        window=WindowInvocation(1_700_000_000_000, 1_700_000_030_000, b'{"a":1}', True, False),
    )
    assert message["DDBStreamBatchInfo"] == {"shardId": "s", "streamArn": STREAM_ARN}
    assert message["timeWindowInfo"]["isFinalInvokeForWindow"] is True


def test_the_key_of_the_message_with_its_payload_s14() -> None:
    key = object_key(TABLE, shard_id="shardId-1", at_ms=AT_MS, unique="u")
    assert key == "aws/lambda/5f2d0e1c-8a36-4d31-9c6b-d1a2b3c4d5e6/shardId-1/2023/11/14/2023-11-14T22.14.20-u"


def test_the_event_of_a_batch() -> None:
    text = event_text(RECORDS, None, shard_id="s", source_arn=STREAM_ARN)
    assert orjson.loads(text) == {"Records": [{"eventID": "1"}, {"eventID": "2"}]}


def test_the_event_of_a_tumbling_window_s11() -> None:
    window = WindowInvocation(1_700_000_000_000, 1_700_000_030_000, b'{"a":1}', True, False)
    assert orjson.loads(event_text((), window, shard_id="s", source_arn=STREAM_ARN)) == {
        "Records": [],
        "window": {"start": "2023-11-14T22:13:20Z", "end": "2023-11-14T22:13:50Z"},
        "state": {"a": 1},
        "shardId": "s",
        "eventSourceARN": STREAM_ARN,
        "isFinalInvokeForWindow": True,
        "isWindowTerminatedEarly": False,
    }


def test_a_kinesis_record_as_lambda_delivers_it() -> None:
    text = kinesis_record_text(
        partition_key="k",
        sequence_number="4959",
        data=b"e30=",
        arrived_at_ms=1_700_000_000_123,
        shard_id="shardId-000000000006",
        stream_arn=KINESIS_ARN,
    )
    assert orjson.loads(text) == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "k",
            "sequenceNumber": "4959",
            "data": "e30=",
            "approximateArrivalTimestamp": 1_700_000_000.123,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "shardId-000000000006:4959",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
        "awsRegion": "eu-west-1",
        "eventSourceARN": KINESIS_ARN,
    }
