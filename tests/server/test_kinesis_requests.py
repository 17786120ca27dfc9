"""Requests to Kinesis that its service model refuses, in its words."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.server.kinesis import KinesisService

NAMED = {"StreamName": "events"}
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/events"
NAME_PATTERN = r"regular expression pattern: \[a-zA-Z0-9_.-]\+"


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("DescribeStream", {"StreamName": "a b"}, f"1 .* 'a b' at 'streamName' .* {NAME_PATTERN}"),
        ("DescribeStream", {"StreamName": "a" * 129}, "1 .* at 'streamName' .* less than or equal to 128"),
        ("DescribeStream", {"StreamName": ""}, "2 validation errors detected: .* greater than or equal to 1"),
        ("GetShardIterator", {**NAMED, "ShardId": "a/b"}, f"at 'shardId' .* {NAME_PATTERN}"),
        (
            "GetShardIterator",
            {**NAMED, "ShardId": "a", "ShardIteratorType": "LATEST", "StartingSequenceNumber": "01"},
            r"'01' at 'startingSequenceNumber' .* pattern: 0\|",
        ),
        ("GetRecords", {"ShardIterator": "a" * 513}, "at 'shardIterator' .* less than or equal to 512"),
        ("MergeShards", {**NAMED, "ShardToMerge": "a b", "AdjacentShardToMerge": "?"}, "2 validation errors"),
        ("ListShards", {**NAMED, "ShardFilter": {"Type": "NEW"}}, "'NEW' at 'shardFilter.type' .* enum value set"),
        ("CreateStream", {**NAMED, "StreamModeDetails": {}}, "null at 'streamModeDetails.streamMode'"),
        (
            "CreateStream",
            {**NAMED, "StreamModeDetails": {"StreamMode": "FAST"}},
            r"'FAST' at 'streamModeDetails.streamMode' .* \[PROVISIONED, ON_DEMAND]",
        ),
        ("UpdateStreamMode", {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}, "null at 'streamARN'"),
        (
            "UpdateShardCount",
            {**NAMED, "TargetShardCount": 0, "ScalingType": "UNIFORM_SCALING"},
            "'0' at 'targetShardCount' .* greater than or equal to 1",
        ),
        ("DescribeStream", {**NAMED, "StreamARN": "a b"}, "'a b' at 'streamARN' .* regular expression pattern: arn"),
        ("ListShards", {"StreamARN": ""}, "2 validation errors .* '' at 'streamARN' .* greater than or equal to 1"),
        ("AddTagsToStream", NAMED, "null at 'tags'"),
        ("AddTagsToStream", {**NAMED, "Tags": {}}, "'{}' at 'tags' .* greater than or equal to 1"),
        ("AddTagsToStream", {**NAMED, "Tags": {"": "x"}}, "'{=x}' at 'tags' .* Map keys must satisfy constraint"),
        ("TagResource", {"ResourceARN": ARN, "Tags": {"k": "x" * 257}}, "at 'tags' .* Map value must satisfy"),
        ("RemoveTagsFromStream", NAMED, "null at 'tagKeys'"),
        ("RemoveTagsFromStream", {**NAMED, "TagKeys": []}, r"'\[]' at 'tagKeys' .* greater than or equal to 1"),
        ("RemoveTagsFromStream", {**NAMED, "TagKeys": ["k" * 129]}, "at 'tagKeys' .* Member must satisfy constraint"),
        ("UntagResource", {"ResourceARN": ARN, "TagKeys": ["k", None]}, r"'\[k, null]' at 'tagKeys' .* must satisfy"),
    ],
)
def test_what_the_service_model_refuses(operation: str, body: dict[str, Any], message: str) -> None:
    service = KinesisService(Identity(), lambda: 0)
    with pytest.raises(ServiceError, match=message) as refused:
        service.prepare(operation, body)
    assert refused.value.code == "ValidationException"
