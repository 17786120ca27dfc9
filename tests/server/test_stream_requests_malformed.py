"""Whatever a request to the stream services says, the answer is an error of theirs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.server.administration import AdministrationService
from afterwrite.server.aws_json import Service
from afterwrite.server.dynamodb_streams import DynamoDBStreamsService
from afterwrite.server.kinesis import KinesisService
from afterwrite.server.shard_iterators import ShardIterator
from afterwrite.store.environment import Environment
from afterwrite.store.operations import Operations
from afterwrite.store.prepared import Read
from embedded import Clock, Dynamo

NAMES = {
    "streams": ["ListStreams", "DescribeStream", "GetShardIterator", "GetRecords"],
    "administration": ["RollOverShards", "SplitShard"],
    "kinesis": [
        *("CreateStream", "DeleteStream", "DescribeStream", "DescribeStreamSummary", "ListStreams", "ListShards"),
        *("PutRecord", "PutRecords", "GetShardIterator", "GetRecords", "SplitShard", "MergeShards", "UpdateShardCount"),
        *("IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod", "UpdateStreamMode", "AddTagsToStream"),
        *("RemoveTagsFromStream", "ListTagsForStream", "TagResource", "UntagResource", "ListTagsForResource"),
    ],
    "dynamodb": [f"{verb}KinesisStreamingDestination" for verb in ("Enable", "Disable", "Update", "Describe")],
}
ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/things/stream/2023-11-14T22:13:20.000"
KINESIS_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/events"
iterator = ShardIterator(2, 0, 0, Clock().now_ms).to_text("events|")

texts = st.one_of(
    st.sampled_from([ARN, KINESIS_ARN, "events", "things", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", iterator]),
    st.sampled_from(
        ["shardId-000000000000", "9" * 30, "9" * 5000, "x" * 600, "", "0", "UNIFORM_SCALING", "e30=", "eA=="]
    ),
    st.text(max_size=40),
)
values = st.recursive(
    st.one_of(texts, st.integers(-(1 << 63), 1 << 63), st.floats(allow_nan=False), st.booleans(), st.none()),
    lambda children: st.one_of(st.lists(children, max_size=2), st.dictionaries(texts, children, max_size=2)),
    max_leaves=4,
)
fields = st.sampled_from(
    [
        *(
            "StreamArn",
            "StreamARN",
            "StreamName",
            "TableName",
            "ShardId",
            "ShardIterator",
            "ShardIteratorType",
            "Limit",
        ),
        *("SequenceNumber", "StartingSequenceNumber", "Timestamp", "ExclusiveStartStreamArn", "ExclusiveStartShardId"),
        *("ShardFilter", "NextToken", "ExclusiveStartStreamName", "Records", "Data", "PartitionKey", "Tags", "TagKeys"),
        *(
            "ExplicitHashKey",
            "ShardToSplit",
            "NewStartingHashKey",
            "ShardToMerge",
            "AdjacentShardToMerge",
            "ShardCount",
        ),
        *("TargetShardCount", "ScalingType", "RetentionPeriodHours", "StreamModeDetails", "ResourceARN", "MaxResults"),
        *("EnableKinesisStreamingConfiguration", "UpdateKinesisStreamingConfiguration"),
    ]
)
requests = st.sampled_from([(service, name) for service, names in NAMES.items() for name in names])


@pytest.fixture
def services(dynamo: Dynamo, clock: Clock) -> dict[str, Any]:
    dynamo.create()
    found: dict[str, Service | Operations] = {
        "streams": DynamoDBStreamsService(Identity(), lambda: clock.now_ms),
        "administration": AdministrationService(),
        "kinesis": KinesisService(Identity(), lambda: clock.now_ms),
        "dynamodb": Operations(Identity()),
    }
    run(dynamo.environment, found["kinesis"], "CreateStream", {"StreamName": "events", "ShardCount": 1})
    return found


def run(environment: Environment, service: Service | Operations, name: str, body: dict[str, Any]) -> None:
    prepared = service.prepare(name, body)
    if isinstance(prepared, Read):
        with environment.read() as transaction:
            prepared.run(transaction, environment.state["catalog"])
    else:
        environment.write(prepared.run)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests, body=st.dictionaries(fields, values, max_size=5))
@example(("kinesis", "GetRecords"), {"ShardIterator": ShardIterator(2, 0, 0, 0).to_text("x" * 600 + "|")})
@example(("streams", "DescribeStream"), {"StreamArn": ARN + "x" * 600})
@example(("streams", "ListStreams"), {"ExclusiveStartStreamArn": ARN + "x" * 600})
@example(("kinesis", "ListStreams"), {"ExclusiveStartStreamName": "x" * 5000})
@example(
    ("kinesis", "GetShardIterator"),
    {
        "StreamName": "events",
        "ShardId": "shardId-000000000000",
        "ShardIteratorType": "AT_SEQUENCE_NUMBER",
        "StartingSequenceNumber": "9" * 5000,
    },
)
@example(
    ("dynamodb", "EnableKinesisStreamingDestination"), {"TableName": "things", "StreamArn": KINESIS_ARN + "x" * 600}
)
def test_a_malformed_request_is_refused_in_the_service_s_words(
    environment: Environment, services: dict[str, Any], request: tuple[str, str], body: dict[str, Any]
) -> None:
    service, name = request
    try:
        run(environment, services[service], name, body)
    except ServiceError as error:
        assert error.status == 400
        assert error.message
