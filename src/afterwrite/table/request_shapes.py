"""The JSON types of requests: what each operation's body is made of, and what the service says of another type.

The service reads all of a body before it looks at what stands in it, so a wrong type anywhere comes before whatever
else is wrong. Parsing stops at the first thing that is wrong; only what was refused is looked at again, here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from afterwrite.table.attribute_values import check_binary, serialization_error, token_name
from afterwrite.table.fields import Body

# `[X]` is a list of X and `{X}` a map of text to X; other names are of scalars or structures. What has no type here is
# the structure of its name, or else a String.
_TYPES_BY_NAME: Final[Mapping[str, str]] = {
    "B": "Blob",
    "SS": "[String]",
    "NS": "[String]",
    "BS": "[Blob]",
    "M": "{AttributeValue}",
    "L": "[AttributeValue]",
    "NULL": "Boolean",
    "BOOL": "Boolean",
    "Exists": "Boolean",
    "AttributeValueList": "[AttributeValue]",
    "Keys": "[{AttributeValue}]",
    "AttributesToGet": "[String]",
    "ConsistentRead": "Boolean",
    "ExpressionAttributeNames": "{String}",
    "Item": "{AttributeValue}",
    "ExpressionAttributeValues": "{AttributeValue}",
    "KeySchema": "[KeySchemaElement]",
    "NonKeyAttributes": "[String]",
    "ReadCapacityUnits": "Long",
    "WriteCapacityUnits": "Long",
    "MaxReadRequestUnits": "Long",
    "MaxWriteRequestUnits": "Long",
    "ReadUnitsPerSecond": "Long",
    "WriteUnitsPerSecond": "Long",
    "StreamEnabled": "Boolean",
    "Enabled": "Boolean",
    "VectorAttribute": "VectorAttributeDefinition",
    "SearchSchema": "[SearchSchemaElement]",
    "Dimensions": "Long",
    "Create": "CreateGlobalSecondaryIndexAction",
    "GlobalSecondaryIndexes": "[ReplicaGlobalSecondaryIndex]",
    "PointInTimeRecoveryEnabled": "Boolean",
    "ConfirmRemoveSelfResourceAccess": "Boolean",
    "RecoveryPeriodInDays": "Integer",
    "Expected": "{ExpectedAttributeValue}",
    "AttributeUpdates": "{AttributeValueUpdate}",
    "Limit": "Integer",
    "KeyConditions": "{Condition}",
    "QueryFilter": "{Condition}",
    "ScanIndexForward": "Boolean",
    "ExclusiveStartKey": "{AttributeValue}",
    "ScanFilter": "{Condition}",
    "TotalSegments": "Integer",
    "Segment": "Integer",
    "RequestItems": "{KeysAndAttributes}",
    "TransactItems": "[TransactGetItem]",
    "AttributeDefinitions": "[AttributeDefinition]",
    "LocalSecondaryIndexes": "[LocalSecondaryIndex]",
    "Tags": "[Tag]",
    "DeletionProtectionEnabled": "Boolean",
    "DisassociationProtectionEnabled": "Boolean",
    "VectorIndexes": "[VectorIndex]",
    "GlobalSecondaryIndexUpdates": "[GlobalSecondaryIndexUpdate]",
    "ReplicaUpdates": "[ReplicationGroupUpdate]",
    "GlobalTableWitnessUpdates": "[GlobalTableWitnessGroupUpdate]",
    "VectorIndexUpdates": "[VectorIndexUpdate]",
    "TagKeys": "[String]",
    "Parameters": "[AttributeValue]",
    "Statements": "[BatchStatementRequest]",
    "TransactStatements": "[ParameterizedStatement]",
    "MaxResults": "Integer",
    "PageSize": "Integer",
}
# The members of structures and of operations' bodies, with the type where it is not the one above.
_MEMBERS: Final[Mapping[str, str]] = {
    "AttributeValue": "S N B SS NS BS M L NULL BOOL",
    "ExpectedAttributeValue": "Value:AttributeValue Exists ComparisonOperator AttributeValueList",
    "AttributeValueUpdate": "Value:AttributeValue Action",
    "Condition": "AttributeValueList ComparisonOperator",
    "KeysAndAttributes": "Keys AttributesToGet ConsistentRead ProjectionExpression ExpressionAttributeNames",
    "WriteRequest": "PutRequest DeleteRequest",
    "PutRequest": "Item",
    "DeleteRequest": "Key:{AttributeValue}",
    "TransactGetItem": "Get",
    "Get": "Key:{AttributeValue} TableName ProjectionExpression ExpressionAttributeNames",
    "TransactWriteItem": "ConditionCheck Put Delete Update",
    "ConditionCheck": (
        "Key:{AttributeValue} TableName ConditionExpression ExpressionAttributeNames ExpressionAttributeValues "
        "ReturnValuesOnConditionCheckFailure"
    ),
    "Put": (
        "Item TableName ConditionExpression ExpressionAttributeNames ExpressionAttributeValues "
        "ReturnValuesOnConditionCheckFailure"
    ),
    "Delete": (
        "Key:{AttributeValue} TableName ConditionExpression ExpressionAttributeNames ExpressionAttributeValues "
        "ReturnValuesOnConditionCheckFailure"
    ),
    "Update": (
        "Key:{AttributeValue} UpdateExpression TableName ConditionExpression ExpressionAttributeNames "
        "ExpressionAttributeValues ReturnValuesOnConditionCheckFailure"
    ),
    "AttributeDefinition": "AttributeName AttributeType",
    "KeySchemaElement": "AttributeName KeyType",
    "LocalSecondaryIndex": "IndexName KeySchema Projection",
    "Projection": "ProjectionType NonKeyAttributes",
    "GlobalSecondaryIndex": "IndexName KeySchema Projection ProvisionedThroughput OnDemandThroughput WarmThroughput",
    "ProvisionedThroughput": "ReadCapacityUnits WriteCapacityUnits",
    "OnDemandThroughput": "MaxReadRequestUnits MaxWriteRequestUnits",
    "WarmThroughput": "ReadUnitsPerSecond WriteUnitsPerSecond",
    "StreamSpecification": "StreamEnabled StreamViewType",
    "SSESpecification": "Enabled SSEType KMSMasterKeyId",
    "Tag": "Key Value",
    "VectorIndex": "IndexName VectorAttribute SearchSchema Projection Dimensions DistanceFunction",
    "VectorAttributeDefinition": "AttributeName",
    "SearchSchemaElement": "AttributeName SearchSchemaElementType",
    "GlobalSecondaryIndexUpdate": (
        "Update:UpdateGlobalSecondaryIndexAction Create Delete:DeleteGlobalSecondaryIndexAction"
    ),
    "UpdateGlobalSecondaryIndexAction": "IndexName ProvisionedThroughput OnDemandThroughput WarmThroughput",
    "CreateGlobalSecondaryIndexAction": (
        "IndexName KeySchema Projection ProvisionedThroughput OnDemandThroughput WarmThroughput"
    ),
    "DeleteGlobalSecondaryIndexAction": "IndexName",
    "ReplicationGroupUpdate": (
        "Create:CreateReplicationGroupMemberAction Update:UpdateReplicationGroupMemberAction "
        "Delete:DeleteReplicationGroupMemberAction Disassociate:DisassociateReplicationGroupMemberAction"
    ),
    "CreateReplicationGroupMemberAction": (
        "RegionName KMSMasterKeyId ProvisionedThroughputOverride OnDemandThroughputOverride GlobalSecondaryIndexes "
        "TableClassOverride"
    ),
    "ProvisionedThroughputOverride": "ReadCapacityUnits",
    "OnDemandThroughputOverride": "MaxReadRequestUnits",
    "ReplicaGlobalSecondaryIndex": "IndexName ProvisionedThroughputOverride OnDemandThroughputOverride",
    "UpdateReplicationGroupMemberAction": (
        "RegionName KMSMasterKeyId ProvisionedThroughputOverride OnDemandThroughputOverride GlobalSecondaryIndexes "
        "TableClassOverride"
    ),
    "DeleteReplicationGroupMemberAction": "RegionName",
    "DisassociateReplicationGroupMemberAction": "RegionName DisassociationMode",
    "GlobalTableWitnessGroupUpdate": (
        "Create:CreateGlobalTableWitnessGroupMemberAction Delete:DeleteGlobalTableWitnessGroupMemberAction"
    ),
    "CreateGlobalTableWitnessGroupMemberAction": "RegionName",
    "DeleteGlobalTableWitnessGroupMemberAction": "RegionName",
    "VectorIndexUpdate": "Create:CreateVectorIndexAction Delete:DeleteVectorIndexAction",
    "CreateVectorIndexAction": "IndexName VectorAttribute SearchSchema Projection Dimensions DistanceFunction",
    "DeleteVectorIndexAction": "IndexName",
    "TimeToLiveSpecification": "Enabled AttributeName",
    "PointInTimeRecoverySpecification": "PointInTimeRecoveryEnabled RecoveryPeriodInDays",
    "EnableKinesisStreamingConfiguration": "ApproximateCreationDateTimePrecision",
    "UpdateKinesisStreamingConfiguration": "ApproximateCreationDateTimePrecision",
    "PutItem": (
        "TableName Item Expected ReturnValues ReturnConsumedCapacity ReturnItemCollectionMetrics "
        "ConditionalOperator ConditionExpression ExpressionAttributeNames ExpressionAttributeValues "
        "ReturnValuesOnConditionCheckFailure"
    ),
    "UpdateItem": (
        "TableName Key:{AttributeValue} AttributeUpdates Expected ConditionalOperator ReturnValues "
        "ReturnConsumedCapacity ReturnItemCollectionMetrics UpdateExpression ConditionExpression "
        "ExpressionAttributeNames ExpressionAttributeValues ReturnValuesOnConditionCheckFailure"
    ),
    "DeleteItem": (
        "TableName Key:{AttributeValue} Expected ConditionalOperator ReturnValues ReturnConsumedCapacity "
        "ReturnItemCollectionMetrics ConditionExpression ExpressionAttributeNames ExpressionAttributeValues "
        "ReturnValuesOnConditionCheckFailure"
    ),
    "GetItem": (
        "TableName Key:{AttributeValue} AttributesToGet ConsistentRead ReturnConsumedCapacity ProjectionExpression "
        "ExpressionAttributeNames"
    ),
    "Query": (
        "TableName IndexName Select AttributesToGet Limit ConsistentRead KeyConditions QueryFilter "
        "ConditionalOperator ScanIndexForward ExclusiveStartKey ReturnConsumedCapacity ProjectionExpression "
        "FilterExpression KeyConditionExpression ExpressionAttributeNames ExpressionAttributeValues"
    ),
    "Scan": (
        "TableName IndexName AttributesToGet Limit Select ScanFilter ConditionalOperator ExclusiveStartKey "
        "ReturnConsumedCapacity TotalSegments Segment ProjectionExpression FilterExpression "
        "ExpressionAttributeNames ExpressionAttributeValues ConsistentRead"
    ),
    "BatchGetItem": "RequestItems ReturnConsumedCapacity",
    "BatchWriteItem": "RequestItems:{[WriteRequest]} ReturnConsumedCapacity ReturnItemCollectionMetrics",
    "TransactGetItems": "TransactItems ReturnConsumedCapacity",
    "TransactWriteItems": (
        "TransactItems:[TransactWriteItem] ReturnConsumedCapacity ReturnItemCollectionMetrics ClientRequestToken"
    ),
    "BatchStatementRequest": "Statement Parameters ConsistentRead ReturnValuesOnConditionCheckFailure",
    "ParameterizedStatement": "Statement Parameters ReturnValuesOnConditionCheckFailure",
    "ExecuteStatement": (
        "Statement Parameters ConsistentRead NextToken ReturnConsumedCapacity Limit ReturnValuesOnConditionCheckFailure"
    ),
    "BatchExecuteStatement": "Statements ReturnConsumedCapacity",
    "ExecuteTransaction": "TransactStatements ClientRequestToken ReturnConsumedCapacity",
    "CreateTable": (
        "AttributeDefinitions TableName KeySchema LocalSecondaryIndexes "
        "GlobalSecondaryIndexes:[GlobalSecondaryIndex] BillingMode ProvisionedThroughput StreamSpecification "
        "SSESpecification Tags TableClass DeletionProtectionEnabled WarmThroughput ResourcePolicy "
        "OnDemandThroughput GlobalTableSourceArn GlobalTableSettingsReplicationMode VectorIndexes "
        "TableThroughputMode"
    ),
    "UpdateTable": (
        "AttributeDefinitions TableName BillingMode ProvisionedThroughput GlobalSecondaryIndexUpdates "
        "StreamSpecification SSESpecification ReplicaUpdates TableClass DeletionProtectionEnabled "
        "MultiRegionConsistency GlobalTableWitnessUpdates OnDemandThroughput WarmThroughput "
        "GlobalTableSettingsReplicationMode VectorIndexUpdates DisassociationProtectionEnabled "
        "TableThroughputMode"
    ),
    "DescribeTable": "TableName",
    "DeleteTable": "TableName",
    "ListTables": "ExclusiveStartTableName Limit",
    "UpdateTimeToLive": "TableName TimeToLiveSpecification",
    "DescribeTimeToLive": "TableName",
    "TagResource": "ResourceArn Tags",
    "UntagResource": "ResourceArn TagKeys",
    "ListTagsOfResource": "ResourceArn NextToken",
    "DescribeContinuousBackups": "TableName",
    "UpdateContinuousBackups": "TableName PointInTimeRecoverySpecification",
    "ListBackups": "TableName Limit ExclusiveStartBackupArn BackupType",
    "ListExports": "TableArn MaxResults NextToken",
    "ListImports": "TableArn PageSize NextToken",
    "ListGlobalTables": "ExclusiveStartGlobalTableName Limit RegionName",
    "ListBulkOperations": "MaxResults NextToken",
    "ListContributorInsights": "TableName NextToken MaxResults",
    "DescribeContributorInsights": "TableName IndexName",
    "UpdateContributorInsights": "TableName IndexName ContributorInsightsAction ContributorInsightsMode",
    "PutResourcePolicy": "ResourceArn Policy ExpectedRevisionId ConfirmRemoveSelfResourceAccess",
    "GetResourcePolicy": "ResourceArn",
    "DeleteResourcePolicy": "ResourceArn ExpectedRevisionId",
    "DescribeTableReplicaAutoScaling": "TableName",
    "EnableKinesisStreamingDestination": "TableName StreamArn EnableKinesisStreamingConfiguration",
    "DisableKinesisStreamingDestination": "TableName StreamArn EnableKinesisStreamingConfiguration",
    "UpdateKinesisStreamingDestination": "TableName StreamArn UpdateKinesisStreamingConfiguration",
    "DescribeKinesisStreamingDestination": "TableName",
}
_SCALARS: Final[Mapping[str, tuple[type, ...]]] = {
    "String": (str,),
    "Boolean": (bool,),
    "Integer": (int, float),
    "Long": (int, float),
}
_PACKAGE: Final = "com.amazonaws.dynamodb.v20120810."
_STRUCTURE: Final = "Start of structure or map found where not expected"
_PARAMETERIZED: Final = (
    "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class java.lang.Class "
    "(sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and java.lang.Class are in module java.base of "
    "loader 'bootstrap')"
)
# Values that stand deeper are refused for that.
_LEVELS_MAX: Final = 100


def members(name: str) -> Mapping[str, str] | None:
    """The types of a structure's, or of an operation's, members; None for what is not known."""
    return _TYPES.get(name)


def check(operation: str, body: Body) -> None:
    """Refuse a body of `operation` in which something has the wrong type. Raises SerializationException."""
    types = members(operation)
    if types is not None:
        _check_members(body, types, 0)


def _check_members(body: Body, types: Mapping[str, str], level: int) -> None:
    for name, value in body.items():
        if name in types:
            _check(value, types[name], is_member=True, level=level)


def _check(value: Any, kind: str, *, is_member: bool, level: int) -> None:
    """Check a value that is a member of a structure, or else of a list or map."""
    if value is None or level > _LEVELS_MAX:
        return
    if kind == "Blob":
        check_binary(value)
    elif kind in _SCALARS:
        _check_scalar(value, kind)
    elif kind.startswith("["):
        if type(value) is dict:
            raise serialization_error(_STRUCTURE)
        if type(value) is not list:
            raise serialization_error("Unexpected field type" if is_member else _PARAMETERIZED)
        for member in value:
            _check(member, kind[1:-1], is_member=False, level=level + 1)
    elif kind.startswith("{"):
        if type(value) is list:
            raise serialization_error(f"Unrecognized collection type {_java_name(kind)}")
        if type(value) is not dict:
            raise serialization_error("Unexpected field type" if is_member else _PARAMETERIZED)
        for member in value.values():
            _check(member, kind[1:-1], is_member=False, level=level + 1)
    elif kind in _TYPES:
        if type(value) is list:
            raise serialization_error(f"Unrecognized collection type class {_java_name(kind)}")
        if type(value) is not dict:
            raise serialization_error("Unexpected field type" if is_member else "Unexpected value type in payload")
        _check_members(value, _TYPES[kind], level + 1)


def _check_scalar(value: Any, kind: str) -> None:
    if type(value) in _SCALARS[kind]:
        return
    if type(value) is dict:
        raise serialization_error(_STRUCTURE)
    if type(value) is list:
        raise serialization_error(f"Unrecognized collection type class {_java_name(kind)}")
    if kind == "Boolean" and type(value) is str:
        raise serialization_error("Unexpected token received from parser")
    raise serialization_error(f"{token_name(value)} cannot be converted to {kind}")


def _java_name(kind: str) -> str:
    if kind in _SCALARS:
        return f"java.lang.{kind}"
    if kind.startswith("["):
        return f"java.util.List<{_java_name(kind[1:-1])}>"
    if kind.startswith("{"):
        return f"java.util.Map<java.lang.String, {_java_name(kind[1:-1])}>"
    return f"{_PACKAGE}{kind}"


def _typed(text: str) -> Mapping[str, str]:
    pairs = [member.partition(":") for member in text.split()]
    return {
        name: kind or _TYPES_BY_NAME.get(name) or (name if name in _MEMBERS else "String") for name, _, kind in pairs
    }


_TYPES: Final = {name: _typed(text) for name, text in _MEMBERS.items()}
