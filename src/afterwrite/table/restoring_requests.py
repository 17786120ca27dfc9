"""What a backup tells of its table, and the CreateTable that makes the table again, with what a restore overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from afterwrite.table import fields, wording
from afterwrite.table.fields import Body, Violations
from afterwrite.table.table_options import BILLING_MODES, PAY_PER_REQUEST, PROVISIONED

_INDEXES: Final = {
    "GlobalSecondaryIndexes": "GlobalSecondaryIndexOverride",
    "LocalSecondaryIndexes": "LocalSecondaryIndexOverride",
}
_VECTOR_INDEXES: Final = "VectorIndexes"
_INDEX_FIELDS: Final = ("IndexName", "KeySchema", "Projection")
_VECTOR_INDEX_FIELDS: Final = (
    "IndexName",
    "VectorAttribute",
    "Dimensions",
    "DistanceFunction",
    "Projection",
    "SearchSchema",
)
_UNITS: Final = ("ReadCapacityUnits", "WriteCapacityUnits")
# What of an index may be another than in the backup.
_OWN: Final = ("ProvisionedThroughput", "OnDemandThroughput")
_OVERRIDDEN: Final = {
    "ProvisionedThroughputOverride": "ProvisionedThroughput",
    "OnDemandThroughputOverride": "OnDemandThroughput",
    "SSESpecificationOverride": "SSESpecification",
}


def source_details(described: Mapping[str, Any]) -> dict[str, Any]:
    """SourceTableDetails, of a table as DescribeTable has it."""
    details = {
        "TableName": described["TableName"],
        "TableId": described["TableId"],
        "TableArn": described["TableArn"],
        "TableSizeBytes": described["TableSizeBytes"],
        "KeySchema": described["KeySchema"],
        "TableCreationDateTime": described["CreationDateTime"],
        "ProvisionedThroughput": _units_of(described),
        "ItemCount": described["ItemCount"],
        "BillingMode": _billing_mode(described),
    }
    if "OnDemandThroughput" in described:
        details["OnDemandThroughput"] = described["OnDemandThroughput"]
    return details


def source_features(described: Mapping[str, Any], ttl_attribute: str | None) -> dict[str, Any]:
    """SourceTableFeatureDetails, of a table as DescribeTable has it."""
    features: dict[str, Any] = {}
    for kind in _INDEXES:
        if kind in described:
            features[kind] = [_index(index, described, with_units=True) for index in described[kind]]
    if _VECTOR_INDEXES in described:
        features[_VECTOR_INDEXES] = _vector_indexes(described)
    if "StreamSpecification" in described:
        features["StreamDescription"] = described["StreamSpecification"]
    if ttl_attribute is not None:
        features["TimeToLiveDescription"] = {"TimeToLiveStatus": "ENABLED", "AttributeName": ttl_attribute}
    if "SSEDescription" in described:
        features["SSEDescription"] = described["SSEDescription"]
    return features


def creation(described: Mapping[str, Any]) -> dict[str, Any]:
    """CreateTable's body that makes a table like the one described, without its stream and its protection."""
    create: dict[str, Any] = {
        "KeySchema": described["KeySchema"],
        "AttributeDefinitions": described["AttributeDefinitions"],
        "BillingMode": _billing_mode(described),
    }
    is_provisioned = create["BillingMode"] == PROVISIONED
    if is_provisioned:
        create["ProvisionedThroughput"] = _units_of(described)
    for kind in _INDEXES:
        if kind in described:
            create[kind] = [_index(index, described, with_units=is_provisioned) for index in described[kind]]
    if _VECTOR_INDEXES in described:
        create[_VECTOR_INDEXES] = _vector_indexes(described)
    if "OnDemandThroughput" in described:
        create["OnDemandThroughput"] = described["OnDemandThroughput"]
    if "TableClassSummary" in described:
        create["TableClass"] = described["TableClassSummary"]["TableClass"]
    if "SSEDescription" in described:
        key = described["SSEDescription"]["KMSMasterKeyArn"]
        create["SSESpecification"] = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    return create


def _vector_indexes(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {name: index[name] for name in _VECTOR_INDEX_FIELDS if name in index} for index in described[_VECTOR_INDEXES]
    ]


def target_name(body: Body) -> str:
    """The name of the table that a restore makes."""
    violations = Violations()
    violations.resource_name(body, "TargetTableName", "targetTableName")
    violations.check()
    return str(body["TargetTableName"])


def restored(created: Mapping[str, Any], target: str, body: Body) -> dict[str, Any]:
    """CreateTable's body of a restore into the table `target`, with what the restore's `body` overrides."""
    create: dict[str, Any] = {**created, "TableName": target}
    billing_mode = fields.choice(body, "BillingModeOverride", BILLING_MODES, "")
    if billing_mode:
        create["BillingMode"] = billing_mode
    if create["BillingMode"] == PAY_PER_REQUEST:
        create.pop("ProvisionedThroughput", None)
    else:
        create.pop("OnDemandThroughput", None)
    for override, field in _OVERRIDDEN.items():
        given = fields.structure(body, override, field)
        if given is not None:
            create[field] = given
    for kind, override in _INDEXES.items():
        wanted = fields.structures(body, override, kind)
        if wanted is not None:
            create[kind] = _chosen(created.get(kind, ()), wanted)
        if create.get(kind) and create["BillingMode"] == PAY_PER_REQUEST:
            create[kind] = [{name: index[name] for name in _INDEX_FIELDS} for index in create[kind]]
        if not create.get(kind):
            create.pop(kind, None)
    if billing_mode == PROVISIONED:
        _check_units(create.get("GlobalSecondaryIndexes", ()))
    vector_indexes = fields.structures(body, "VectorIndexOverride", "VectorIndex")
    if vector_indexes is not None:
        create[_VECTOR_INDEXES] = _chosen(created.get(_VECTOR_INDEXES, ()), vector_indexes)
    if not create.get(_VECTOR_INDEXES):
        create.pop(_VECTOR_INDEXES, None)
    create["AttributeDefinitions"] = _used_definitions(create)
    return create


def _check_units(indexes: Sequence[Mapping[str, Any]]) -> None:
    """Refuse indexes without units, which a table that is paid for by units cannot be restored with."""
    for index in indexes:
        if index.get("ProvisionedThroughput") is None:
            raise wording.invalid_parameter(
                f"GlobalSecondaryIndexOverride must be specified for index: {index['IndexName']} "
                "when BillingModeOverride is PROVISIONED"
            )


def _chosen(kept: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The indexes that a restore asks for, which have to be the backup's. Raises ServiceError."""
    for index in wanted:
        known = next((each for each in kept if each["IndexName"] == index.get("IndexName")), None)
        if known is None or any(index.get(name) != known[name] for name in known if name not in _OWN):
            raise wording.invalid_parameter("Indexes that a table is restored with have to be those of its source")
    return [*wanted]


def _used_definitions(create: Mapping[str, Any]) -> list[Any]:
    used = {element["AttributeName"] for element in create["KeySchema"]}
    for kind in _INDEXES:
        used |= {element["AttributeName"] for index in create.get(kind, ()) for element in index["KeySchema"]}
    for index in create.get(_VECTOR_INDEXES, ()):
        used |= {element["AttributeName"] for element in index.get("SearchSchema", ())}
    return [each for each in create["AttributeDefinitions"] if each["AttributeName"] in used]


def _billing_mode(described: Mapping[str, Any]) -> str:
    mode: str = described.get("BillingModeSummary", {}).get("BillingMode", PROVISIONED)
    return mode


def _units_of(described: Mapping[str, Any]) -> dict[str, int]:
    return {name: described["ProvisionedThroughput"][name] for name in _UNITS}


def _index(index: Mapping[str, Any], table: Mapping[str, Any], *, with_units: bool) -> dict[str, Any]:
    told: dict[str, Any] = {name: index[name] for name in _INDEX_FIELDS}
    if with_units and "ProvisionedThroughput" in index:
        told["ProvisionedThroughput"] = _units_of(index)
    if _billing_mode(table) == PAY_PER_REQUEST and "OnDemandThroughput" in index:
        told["OnDemandThroughput"] = index["OnDemandThroughput"]
    return told
