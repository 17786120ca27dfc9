"""A valid request for every operation of every service, and what they need to be valid."""

from __future__ import annotations

from typing import Any

from engine_process import EngineUnderTest

TABLE = "fuzzed"
BINARY_TABLE = "fuzzed-binary"
VECTOR_TABLE = "fuzzed-vectors"
STREAM = "fuzzed-records"
DYNAMODB, STREAMS, KINESIS = "DynamoDB_20120810", "DynamoDBStreams_20120810", "Kinesis_20131202"
EVENTS, ADMINISTRATION = "AWSEvents", "Afterwrite"

Body = dict[str, Any]
Seed = tuple[str, str, Body]  # service, operation, body

KEY: Body = {"pk": {"S": "a"}, "sk": {"N": "1"}}
ITEM: Body = {
    **KEY,
    "status": {"S": "open"},
    "due": {"N": "-1.5E+3"},
    "blob": {"B": "AAEC"},
    "flag": {"BOOL": True},
    "none": {"NULL": True},
    "texts": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2.5"]},
    "blobs": {"BS": ["AA==", "AQ=="]},
    "list": {"L": [{"S": "x"}, {"M": {"deep": {"L": [{"N": "1"}]}}}]},
    "map": {"M": {"inner": {"M": {"n": {"N": "7"}}}}},
    "ttl": {"N": "4102444800"},
}


def table(name: str) -> Body:
    """CreateTable's body."""
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    status = [{"AttributeName": "status", "KeyType": "HASH"}, {"AttributeName": "due", "KeyType": "RANGE"}]
    due = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "due", "KeyType": "RANGE"}]
    kinds = {"pk": "S", "sk": "N", "status": "S", "due": "N"}
    return {
        "TableName": name,
        "KeySchema": keys,
        "AttributeDefinitions": [{"AttributeName": each, "AttributeType": kind} for each, kind in kinds.items()],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-status",
                "KeySchema": status,
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["list"]},
            }
        ],
        "LocalSecondaryIndexes": [
            {"IndexName": "by-due", "KeySchema": due, "Projection": {"ProjectionType": "KEYS_ONLY"}}
        ],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        "Tags": [{"Key": "team", "Value": "a"}],
        "DeletionProtectionEnabled": False,
    }


def binary_table() -> Body:
    """CreateTable's body of a table with binary keys, and an index of several attributes."""
    kinds = {"pk": "B", "sk": "B", "country": "S", "city": "S", "n": "N"}
    index = [{"AttributeName": each, "KeyType": "HASH"} for each in ("country", "city")]
    index += [{"AttributeName": each, "KeyType": "RANGE"} for each in ("n", "sk")]
    return {
        "TableName": BINARY_TABLE,
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "AttributeDefinitions": [{"AttributeName": each, "AttributeType": kind} for each, kind in kinds.items()],
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "places",
                "KeySchema": index,
                "Projection": {"ProjectionType": "ALL"},
                "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
            }
        ],
    }


def vector_table() -> Body:
    """CreateTable's body of a table with a vector index that has a partition and a filter."""
    return {
        "TableName": VECTOR_TABLE,
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "kind", "AttributeType": "S"},
            {"AttributeName": "grade", "AttributeType": "N"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "VectorIndexes": [vector_index("near")],
    }


def vector_index(name: str) -> Body:
    """A vector index of vectors of two numbers."""
    return {
        "IndexName": name,
        "VectorAttribute": {"AttributeName": "vector"},
        "Dimensions": 2,
        "DistanceFunction": "COSINE",
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["note"]},
        "SearchSchema": [
            {"AttributeName": "kind", "SearchSchemaElementType": "HASH"},
            {"AttributeName": "grade", "SearchSchemaElementType": "INLINE_FILTER"},
        ],
    }


def prepare(engine: EngineUnderTest) -> None:
    """Make what the seeds refer to, where it is not there or not there any more."""
    for operation, body in (
        ("CreateTable", table(TABLE)),
        ("CreateTable", binary_table()),
        ("CreateTable", vector_table()),
        ("UpdateTable", {"TableName": TABLE, "DeletionProtectionEnabled": False}),
        ("PutItem", {"TableName": TABLE, "Item": ITEM}),
    ):
        engine.exchange(operation, body)
    engine.exchange("CreateStream", {"StreamName": STREAM, "ShardCount": 2}, service=KINESIS)


def seeds(engine: EngineUnderTest) -> list[Seed]:
    """The requests, in an order in which each of them is answered with 200."""
    prepare(engine)
    arn = engine.call("ListStreams", {"TableName": TABLE}, service=STREAMS)["Streams"][-1]["StreamArn"]
    described = engine.call("DescribeStream", {"StreamArn": arn}, service=STREAMS)["StreamDescription"]
    shard = {"StreamArn": arn, "ShardId": described["Shards"][0]["ShardId"]}
    iterator = engine.call("GetShardIterator", {**shard, "ShardIteratorType": "TRIM_HORIZON"}, service=STREAMS)
    kinesis_shard = {"StreamName": STREAM, "ShardId": "shardId-000000000000"}
    records = engine.call("GetShardIterator", {**kinesis_shard, "ShardIteratorType": "LATEST"}, service=KINESIS)
    stream_arn = engine.call("DescribeStreamSummary", {"StreamName": STREAM}, service=KINESIS)[
        "StreamDescriptionSummary"
    ]["StreamARN"]
    return [
        *((DYNAMODB, name, body) for name, body in _of_items()),
        *((DYNAMODB, name, body) for name, body in _of_binary_keys()),
        *((DYNAMODB, name, body) for name, body in _of_vectors()),
        *((DYNAMODB, name, body) for name, body in _of_statements()),
        *((DYNAMODB, name, body) for name, body in _of_tables(arn.partition("/stream/")[0], stream_arn)),
        (STREAMS, "ListStreams", {"TableName": TABLE, "Limit": 2}),
        (STREAMS, "DescribeStream", {"StreamArn": arn, "Limit": 2}),
        (STREAMS, "GetShardIterator", {**shard, "ShardIteratorType": "TRIM_HORIZON"}),
        (STREAMS, "GetRecords", {"ShardIterator": iterator["ShardIterator"], "Limit": 5}),
        *((KINESIS, name, body) for name, body in _of_kinesis(stream_arn, kinesis_shard, records["ShardIterator"])),
        *((EVENTS, name, body) for name, body in _of_events()),
        (ADMINISTRATION, "RollOverShards", {"StreamArn": arn}),
    ]


def _of_events() -> list[tuple[str, Body]]:
    page: Body = {"Limit": 3, "NextToken": "YQ=="}
    fields = '"id": "1", "account": "0", "time": "2026-11-22T09:15:00Z", "region": "us-east-1", "detail-type": "t"'
    return [
        ("ListEventBuses", {"NamePrefix": "a", **page}),
        ("ListArchives", {"State": "ENABLED", **page}),
        ("ListReplays", {"EventSourceArn": "arn:aws:events:us-east-1:000000000000:archive/bus", **page}),
        ("TestEventPattern", {"EventPattern": '{"source": ["a"]}', "Event": f'{{"source": "a", {fields}}}'}),
    ]


def _of_vectors() -> list[tuple[str, Body]]:
    vector: list[Body] = [{"N": "1"}, {"N": "-0.5"}]
    item: Body = {
        "pk": {"S": "a"},
        "kind": {"S": "k"},
        "grade": {"N": "2"},
        "vector": {"L": vector},
        "note": {"S": "n"},
    }
    search: Body = {
        "TableName": VECTOR_TABLE,
        "IndexName": "near",
        "SearchVector": vector,
        "TopK": 3,
        "SearchConditionExpression": "kind = :kind AND #g = :grade",
        "ProjectionExpression": "pk, vector[0], #g",
        "ExpressionAttributeNames": {"#g": "grade"},
        "ExpressionAttributeValues": {":kind": {"S": "k"}, ":grade": {"N": "2"}},
        "ReturnConsumedCapacity": "TOTAL",
    }
    added: Body = {"TableName": VECTOR_TABLE, "VectorIndexUpdates": [{"Create": vector_index("nearer")}]}
    removed: Body = {"TableName": VECTOR_TABLE, "VectorIndexUpdates": [{"Delete": {"IndexName": "nearer"}}]}
    definitions = vector_table()["AttributeDefinitions"]
    return [
        ("PutItem", {"TableName": VECTOR_TABLE, "Item": item, "ReturnConsumedCapacity": "INDEXES"}),
        ("SearchVectors", search),
        ("UpdateTable", {**added, "AttributeDefinitions": definitions}),
        ("UpdateTable", removed),
        ("DescribeTable", {"TableName": VECTOR_TABLE}),
    ]


def refused_seeds() -> list[Seed]:
    """Requests that are well formed, and refused because of what they are about."""
    replay = {
        "ReplayName": "again",
        "EventSourceArn": "arn:aws:events:us-east-1:000000000000:archive/bus",
        "Destination": {"Arn": "arn:aws:events:us-east-1:000000000000:event-bus/bus"},
        "EventStartTime": 1_700_000_000,
        "EventEndTime": 1_800_000_000,
    }
    arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}/stream/2024-01-01T00:00:00.000"
    return [
        (EVENTS, "StartReplay", replay),
        (EVENTS, "DescribeReplay", {"ReplayName": "again"}),
        (EVENTS, "CancelReplay", {"ReplayName": "again"}),
        (EVENTS, "DescribeEventBus", {"Name": "arn:aws:events:us-east-1:000000000000:event-bus/bus"}),
        (EVENTS, "DescribeArchive", {"ArchiveName": "bus"}),
        (EVENTS, "ListRules", {"EventBusName": "bus", "NamePrefix": "a", "Limit": 3, "NextToken": "YQ=="}),
        (EVENTS, "DescribeRule", {"EventBusName": "bus", "Name": "rule"}),
        (EVENTS, "ListTargetsByRule", {"EventBusName": "bus", "Rule": "rule"}),
        (EVENTS, "ListRuleNamesByTarget", {"EventBusName": "bus", "TargetArn": arn}),
        (ADMINISTRATION, "SplitShard", {"StreamArn": arn, "ShardId": "shardId-00000001700000000000-00000000"}),
    ]


def _of_items() -> list[tuple[str, Body]]:
    named: Body = {"TableName": TABLE}
    values: Body = {":one": {"N": "1"}, ":open": {"S": "open"}, ":list": {"L": [{"S": "y"}]}, ":texts": {"SS": ["c"]}}
    condition: Body = {
        "ConditionExpression": "attribute_exists(pk) AND (NOT #s <> :open OR size(texts) BETWEEN :one AND :one)",
        "ExpressionAttributeNames": {"#s": "status"},
        "ExpressionAttributeValues": {name: values[name] for name in (":one", ":open")},
    }
    reporting: Body = {"ReturnConsumedCapacity": "INDEXES", "ReturnItemCollectionMetrics": "SIZE"}
    query: Body = {
        "KeyConditionExpression": "pk = :pk AND sk BETWEEN :low AND :high",
        "FilterExpression": "contains(texts, :a) AND attribute_type(#l, :l) AND #l[1].deep[0] IN (:low, :high)",
        "ProjectionExpression": "pk, #l[0], #m.#i.n",
        "ExpressionAttributeNames": {"#l": "list", "#m": "map", "#i": "inner"},
        "ExpressionAttributeValues": {
            ":pk": {"S": "a"},
            ":low": {"N": "0"},
            ":high": {"N": "2"},
            ":a": {"S": "a"},
            ":l": {"S": "L"},
        },
    }
    checked = {**condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    legacy = {"status": {"ComparisonOperator": "BEGINS_WITH", "AttributeValueList": [{"S": "op"}]}}
    update = "SET due = if_not_exists(nothing, :one) + :one, #l = list_append(#l, :list) REMOVE #m.x ADD texts :texts"
    updating: Body = {
        "UpdateExpression": update,
        "ExpressionAttributeNames": {"#l": "list", "#m": "map"},
        "ExpressionAttributeValues": {name: values[name] for name in (":one", ":list", ":texts")},
    }
    other = {"pk": {"S": "b"}, "sk": {"N": "2"}}
    return [
        ("PutItem", {**named, "Item": ITEM, **reporting, "ReturnValues": "ALL_OLD"}),
        ("PutItem", {**named, "Item": ITEM, **checked}),
        ("UpdateItem", {**named, "Key": KEY, **updating, **reporting, "ReturnValues": "ALL_NEW"}),
        (
            "UpdateItem",
            {
                **named,
                "Key": KEY,
                "AttributeUpdates": {
                    "status": {"Action": "PUT", "Value": {"S": "open"}},
                    "due": {"Action": "ADD", "Value": {"N": "1"}},
                    "none": {"Action": "DELETE"},
                },
                "Expected": {
                    "status": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "open"}]},
                    "nothing": {"Exists": False},
                },
                "ConditionalOperator": "AND",
            },
        ),
        ("GetItem", {**named, "Key": KEY, "ConsistentRead": True}
         | {"ProjectionExpression": "#m.#i.n", "ExpressionAttributeNames": {"#m": "map", "#i": "inner"}}),
        ("GetItem", {**named, "Key": KEY, "AttributesToGet": ["pk", "texts"]}),
        ("Query", {**named, **query, "Limit": 3, "ScanIndexForward": False, "Select": "SPECIFIC_ATTRIBUTES"}),
        (
            "Query",
            {
                **named,
                "IndexName": "by-status",
                "KeyConditions": {"status": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "open"}]}},
                "QueryFilter": {"pk": {"ComparisonOperator": "NOT_NULL"}},
                "ExclusiveStartKey": {**KEY, "status": {"S": "open"}, "due": {"N": "1"}},
            },
        ),
        ("Scan", {**named, "Segment": 0, "TotalSegments": 2, "Limit": 3, "ReturnConsumedCapacity": "TOTAL"}),
        ("Scan", {**named, "IndexName": "by-due", "ScanFilter": {"pk": legacy["status"]}, "Select": "COUNT"}),
        (
            "BatchGetItem",
            {
                "RequestItems": {
                    TABLE: {
                        "Keys": [KEY, other],
                        "ProjectionExpression": "#s",
                        "ExpressionAttributeNames": {"#s": "status"},
                        "ConsistentRead": True,
                    }
                }
            },
        ),
        (
            "BatchWriteItem",
            {"RequestItems": {TABLE: [{"PutRequest": {"Item": ITEM}}, {"DeleteRequest": {"Key": other}}]}, **reporting},
        ),
        ("TransactGetItems", {"TransactItems": [{"Get": {**named, "Key": KEY}}, {"Get": {**named, "Key": other}}]}),
        (
            "TransactWriteItems",
            {
                "TransactItems": [
                    {"Update": {**named, "Key": KEY, **updating}},
                    {"Put": {**named, "Item": {**ITEM, "sk": {"N": "3"}}}},
                    {"Delete": {**named, "Key": other}},
                    {"ConditionCheck": {**named, "Key": {**KEY, "sk": {"N": "9"}}}
                     | {"ConditionExpression": "attribute_not_exists(pk)"}},
                ],
                "ClientRequestToken": "token",
                **reporting,
            },
        ),
        ("DeleteItem", {**named, "Key": KEY, **checked, "ReturnValues": "ALL_OLD"}),
    ]  # fmt: skip


def _of_binary_keys() -> list[tuple[str, Body]]:
    named: Body = {"TableName": BINARY_TABLE}
    key: Body = {"pk": {"B": "AAEC"}, "sk": {"B": "/w=="}}
    item = {**key, "country": {"S": "x"}, "city": {"S": "y"}, "n": {"N": "-1E-130"}}
    return [
        ("PutItem", {**named, "Item": item}),
        (
            "Query",
            {
                **named,
                "KeyConditionExpression": "pk = :p AND begins_with(sk, :s)",
                "ExpressionAttributeValues": {":p": key["pk"], ":s": key["sk"]},
            },
        ),
        (
            "Query",
            {
                **named,
                "IndexName": "places",
                "KeyConditionExpression": "country = :x AND city = :y AND n = :n AND sk >= :s",
                "ExpressionAttributeValues": {
                    ":x": item["country"],
                    ":y": item["city"],
                    ":n": item["n"],
                    ":s": key["sk"],
                },
            },
        ),
        ("Scan", {**named, "IndexName": "places", "ExclusiveStartKey": item}),
        (
            "UpdateItem",
            {
                **named,
                "Key": key,
                "UpdateExpression": "SET n = n - :n, city = :y",
                "ExpressionAttributeValues": {":n": {"N": "5E-130"}, ":y": {"S": "z"}},
            },
        ),
        ("DeleteItem", {**named, "Key": key}),
    ]


def _of_statements() -> list[tuple[str, Body]]:
    key = {"pk": {"S": "stated"}, "sk": {"N": "1"}}
    where = f"FROM {TABLE} WHERE pk = ? AND sk = 1"
    named = [key["pk"]]
    return [
        ("ExecuteStatement", {"Statement": f"DELETE {where}", "Parameters": named}),
        (
            "ExecuteStatement",
            {
                "Statement": f"INSERT INTO {TABLE} VALUE "
                "{'pk': ?, 'sk': 1, 'l': [1, 'x', {'y': null}], 's': <<1, 2>>}",
                "Parameters": named,
                "ReturnConsumedCapacity": "INDEXES",
            },
        ),
        (
            "ExecuteStatement",
            {
                "Statement": f"SELECT l[1], m.n {where} AND (size(l) > 2 OR NOT pk IN ['a', ?]) ORDER BY sk DESC",
                "Parameters": [*named, {"S": "b"}],
                "Limit": 5,
                "ConsistentRead": True,
            },
        ),
        (
            "BatchExecuteStatement",
            {
                "Statements": [
                    {"Statement": f"SELECT * {where}", "Parameters": named},
                    {"Statement": f"SELECT pk FROM {TABLE} WHERE pk = 'a' AND sk = -1.5e1", "ConsistentRead": True},
                ]
            },
        ),
        (
            "ExecuteTransaction",
            {
                "TransactStatements": [
                    {
                        "Statement": f"UPDATE {TABLE} SET s = set_add(s, <<3>>), m = list_append(l, [?]) REMOVE l "
                        "WHERE pk = 'stated' AND sk = 1 AND l IS NOT MISSING",
                        "Parameters": named,
                    },
                    {"Statement": f"EXISTS(SELECT * FROM {TABLE} WHERE pk = 'none' AND sk = 1 AND n IS MISSING)"},
                ],
                "ReturnConsumedCapacity": "TOTAL",
            },
        ),
    ]


def _of_tables(arn: str, stream_arn: str) -> list[tuple[str, Body]]:
    named: Body = {"TableName": TABLE}
    destination: Body = {**named, "StreamArn": stream_arn}
    precision = {"ApproximateCreationDateTimePrecision": "MICROSECOND"}
    new_index: Body = {
        "IndexName": "by-note",
        "KeySchema": [{"AttributeName": "note", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    return [
        ("CreateTable", table("made")),
        (
            "UpdateTable",
            {
                "TableName": "made",
                "AttributeDefinitions": [{"AttributeName": "note", "AttributeType": "S"}],
                "GlobalSecondaryIndexUpdates": [{"Create": new_index}],
            },
        ),
        ("UpdateTable", {"TableName": "made", "StreamSpecification": {"StreamEnabled": False}}),
        ("DescribeTable", named),
        ("ListTables", {"Limit": 3, "ExclusiveStartTableName": "aaa"}),
        ("UpdateTimeToLive", {**named, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}}),
        ("DescribeTimeToLive", named),
        ("TagResource", {"ResourceArn": arn, "Tags": [{"Key": "k", "Value": "v"}]}),
        ("ListTagsOfResource", {"ResourceArn": arn}),
        ("UntagResource", {"ResourceArn": arn, "TagKeys": ["k"]}),
        ("DescribeContinuousBackups", named),
        (
            "UpdateContinuousBackups",
            {**named, "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}},
        ),
        ("DescribeLimits", {}),
        ("DescribeEndpoints", {}),
        ("ListBackups", named),
        ("ListExports", {}),
        ("ListImports", {}),
        ("ListGlobalTables", {}),
        ("ListBulkOperations", {"MaxResults": 5}),
        ("UpdateContributorInsights", {**named, "ContributorInsightsAction": "ENABLE"}),
        ("ListContributorInsights", {**named, "MaxResults": 5}),
        ("DescribeContributorInsights", named),
        ("PutResourcePolicy", {"ResourceArn": arn, "Policy": '{"Version": "2012-10-17", "Statement": []}'}),
        ("GetResourcePolicy", {"ResourceArn": arn}),
        ("DeleteResourcePolicy", {"ResourceArn": arn}),
        ("DescribeTableReplicaAutoScaling", named),
        ("EnableKinesisStreamingDestination", {**destination, "EnableKinesisStreamingConfiguration": precision}),
        ("DescribeKinesisStreamingDestination", named),
        (
            "UpdateKinesisStreamingDestination",
            {
                **destination,
                "UpdateKinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": "MILLISECOND"},
            },
        ),
        ("DisableKinesisStreamingDestination", destination),
        ("DeleteTable", {"TableName": "made"}),
    ]


def _of_kinesis(arn: str, shard: Body, iterator: str) -> list[tuple[str, Body]]:
    named: Body = {"StreamName": STREAM}
    record = {"Data": "AAEC", "PartitionKey": "p"}
    return [
        ("CreateStream", {"StreamName": "made", "ShardCount": 1, "StreamModeDetails": {"StreamMode": "PROVISIONED"}}),
        ("DescribeStream", {**named, "Limit": 5}),
        ("DescribeStreamSummary", {"StreamARN": arn}),
        ("ListStreams", {"Limit": 3}),
        ("ListShards", {**named, "ShardFilter": {"Type": "AT_TRIM_HORIZON"}, "MaxResults": 5}),
        ("PutRecord", {**named, **record, "ExplicitHashKey": "7"}),
        ("PutRecords", {**named, "Records": [record, {**record, "PartitionKey": "q"}]}),
        ("GetShardIterator", {**shard, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_700_000_000.5}),
        ("GetRecords", {"ShardIterator": iterator, "Limit": 5}),
        ("AddTagsToStream", {**named, "Tags": {"k": "v"}}),
        ("ListTagsForStream", {**named, "Limit": 5}),
        ("RemoveTagsFromStream", {**named, "TagKeys": ["k"]}),
        ("TagResource", {"ResourceARN": arn, "Tags": {"k": "v"}}),
        ("ListTagsForResource", {"ResourceARN": arn}),
        ("UntagResource", {"ResourceARN": arn, "TagKeys": ["k"]}),
        ("IncreaseStreamRetentionPeriod", {**named, "RetentionPeriodHours": 48}),
        ("DecreaseStreamRetentionPeriod", {**named, "RetentionPeriodHours": 24}),
        ("UpdateStreamMode", {"StreamARN": arn, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
        ("UpdateStreamMode", {"StreamARN": arn, "StreamModeDetails": {"StreamMode": "PROVISIONED"}}),
        ("SplitShard", {"StreamName": "made", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "1000"}),
        (
            "MergeShards",
            {
                "StreamName": "made",
                "ShardToMerge": "shardId-000000000001",
                "AdjacentShardToMerge": "shardId-000000000002",
            },
        ),
        ("UpdateShardCount", {"StreamName": "made", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}),
        ("DeleteStream", {"StreamName": "made", "EnforceConsumerDeletion": True}),
    ]
