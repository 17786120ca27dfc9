"""Events in the forms in which Lambda is called, for tests."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from itertools import count
from typing import Any

import orjson

from afterwrite.core.values import encode_item

AT_S = 1_700_000_000
_message_numbers = count(1)


def dynamodb_record(number: int, key: str, *, table: str = "things", **attributes: Any) -> dict[str, Any]:
    """A record of a DynamoDB stream: the INSERT of an item with the partition key `key`, at a sequence number."""
    keys = encode_item({"pk": key, "sk": str(number)})
    return {
        "eventID": f"{number:032x}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "eventSourceARN": f"arn:aws:dynamodb:eu-west-1:111122223333:table/{table}/stream/2026-01-01T00:00:00.000",
        "dynamodb": {
            "ApproximateCreationDateTime": AT_S,
            "Keys": keys,
            "NewImage": {**keys, **encode_item(attributes)},
            "SequenceNumber": str(number),
            "SizeBytes": 50,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def kinesis_record(number: int, key: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """A record of a Kinesis stream that carries a change: `id`, the time `at` in ms, the `from` that the item was."""
    keys = encode_item({"pk": key, "sk": change.get("sk", str(number))})
    data: dict[str, Any] = {
        "awsRegion": "eu-west-1",
        "eventID": change.get("id", str(number)),
        "eventName": "INSERT",
        "userIdentity": None,
        "recordFormat": "application/json",
        "tableName": "things",
        "dynamodb": {
            "ApproximateCreationDateTime": change.get("at", 0),
            "Keys": keys,
            "NewImage": {**keys, **encode_item(change.get("attributes", {}))},
            "SizeBytes": 50,
        },
        "eventSource": "aws:dynamodb",
    }
    if "from" in change:
        data["eventName"] = "MODIFY"
        data["dynamodb"]["OldImage"] = {**keys, **encode_item(change["from"])}
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": str(number),
            "data": base64.b64encode(orjson.dumps(data)).decode(),
            "approximateArrivalTimestamp": AT_S,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{number}",
        "eventName": "aws:kinesis:record",
        "eventSourceARN": "arn:aws:kinesis:eu-west-1:111122223333:stream/things",
    }


def sqs_record(body: str, *, attributes: Mapping[str, Any] | None = None, receive_count: int = 1) -> dict[str, Any]:
    """A message of an SQS queue."""
    encoded = {name: _typed(value) for name, value in (attributes or {}).items()}
    return {
        "messageId": f"m-{next(_message_numbers)}",
        "receiptHandle": "r",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receive_count), "SentTimestamp": str(AT_S * 1000)},
        "messageAttributes": {
            name: {"dataType": data_type, "stringValue": text} for name, (data_type, text) in encoded.items()
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:111122223333:queue",
        "awsRegion": "eu-west-1",
    }


def sns_notification(
    message: str, *, subject: str | None = None, attributes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What SNS delivers to a queue or a function."""
    encoded = {name: _typed(value) for name, value in (attributes or {}).items()}
    return {
        "Type": "Notification",
        "MessageId": f"n-{next(_message_numbers)}",
        "TopicArn": "arn:aws:sns:eu-west-1:111122223333:topic",
        "Subject": subject,
        "Message": message,
        "Timestamp": "2023-11-14T22:13:20.000Z",
        "MessageAttributes": {name: {"Type": data_type, "Value": text} for name, (data_type, text) in encoded.items()},
    }


def _typed(value: Any) -> tuple[str, str]:
    if isinstance(value, str):
        return "String", value
    return ("String.Array" if isinstance(value, list) else "Number"), orjson.dumps(value).decode()
