"""The operations on tables, and the reads of several items, on a real store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from afterwrite.config import Identity
from afterwrite.core.values import encode_item
from afterwrite.errors import ServiceError, TransactionCanceled
from afterwrite.store.environment import Environment
from embedded import Clock, Dynamo, open_store

HASH = {"AttributeName": "pk", "KeyType": "HASH"}
TEXT = {"AttributeName": "pk", "AttributeType": "S"}
ON = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
OFF = {"StreamEnabled": False}


def create(dynamo: Dynamo, **fields: Any) -> dict[str, Any]:
    body = {"KeySchema": [HASH], "AttributeDefinitions": [TEXT], "BillingMode": "PAY_PER_REQUEST", **fields}
    described: dict[str, Any] = dynamo("CreateTable", TableName="things", **body)["TableDescription"]
    return described


def describe(dynamo: Dynamo) -> dict[str, Any]:
    described: dict[str, Any] = dynamo("DescribeTable", TableName="things")["Table"]
    return described


def update(dynamo: Dynamo, **fields: Any) -> dict[str, Any]:
    described: dict[str, Any] = dynamo("UpdateTable", TableName="things", **fields)["TableDescription"]
    return described


def test_a_listing_tells_all_that_is_wrong_with_it(dynamo: Dynamo) -> None:
    with pytest.raises(ServiceError) as refused:
        dynamo("ListTables", Limit=101, ExclusiveStartTableName="a!")
    assert refused.value.message == (
        "3 validation errors detected: "
        "Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100; "
        "Value 'a!' at 'exclusiveStartTableName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; "
        "Value 'a!' at 'exclusiveStartTableName' failed to satisfy constraint: "
        "Member must have length greater than or equal to 3"
    )


def test_the_units_of_an_index_are_bounded_before_the_table_is_looked_for(dynamo: Dynamo) -> None:
    many = {"IndexName": "by-kind", "ProvisionedThroughput": {"ReadCapacityUnits": 10**12 + 1, "WriteCapacityUnits": 1}}
    with pytest.raises(ServiceError, match=r"ReadCapacityUnits is out of bounds for index by-kind$"):
        update(dynamo, GlobalSecondaryIndexUpdates=[{"Update": many}])


def test_a_stream_that_is_enabled_again_is_another_stream_s18(dynamo: Dynamo) -> None:
    first = create(dynamo, StreamSpecification=ON)
    dynamo.put(pk="1")
    (change,) = dynamo.changes()
    off = update(dynamo, StreamSpecification=OFF)
    assert "StreamSpecification" not in off
    assert off["LatestStreamArn"] == first["LatestStreamArn"]
    dynamo.put(pk="2")
    second = update(dynamo, StreamSpecification=ON)
    assert second["LatestStreamLabel"] > first["LatestStreamLabel"]
    assert second["LatestStreamArn"].endswith(second["LatestStreamLabel"])
    dynamo.put(pk="3")
    assert [each.keys["pk"] for each in dynamo.changes()] == ["3"]
    assert change.keys == {"pk": "1"}


@pytest.mark.parametrize(
    ("before", "fields", "message"),
    [
        ({}, {}, "At least one of ProvisionedThroughput, BillingMode"),
        ({"StreamSpecification": ON}, {"StreamSpecification": ON}, "Table already has an enabled stream"),
        ({}, {"StreamSpecification": OFF}, "Table has no stream to disable"),
        ({}, {"StreamSpecification": {"StreamEnabled": True}}, "UpdateViewType is required"),
        ({}, {"BillingMode": "PROVISIONED"}, "ProvisionedThroughput must be specified when BillingMode is PROVISIONED"),
        ({}, {"TableClass": "COLD"}, "Invalid table-class parameter provided"),
        ({}, {"GlobalSecondaryIndexUpdates": [{}]}, "must not be null"),
        ({}, {"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "nope"}}]}, "Index nope for table things"),
        ({}, {"WarmThroughput": {"ReadUnitsPerSecond": 1}}, "lower than current WarmThroughput"),
    ],
)
def test_update_table_refuses(dynamo: Dynamo, before: Any, fields: Any, message: str) -> None:
    create(dynamo, **before)
    with pytest.raises(ServiceError, match=message):
        update(dynamo, **fields)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ({}, "1 .* Value null at 'streamSpecification.streamEnabled' .* must not be null"),
        ({"StreamViewType": "NEW_IMAGE"}, "1 .* Value null at 'streamSpecification.streamEnabled' .* must not be null"),
        ({"StreamEnabled": True}, "stream enabled, UpdateViewType is required"),
        ({"StreamEnabled": False, "StreamViewType": "NEW_IMAGE"}, "UpdateViewType should not be specified"),
    ],
)
def test_a_table_is_made_with_a_stream_that_says_what_it_is(dynamo: Dynamo, stream: Any, message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        create(dynamo, StreamSpecification=stream)


def test_a_table_that_was_provisioned_from_the_start_has_no_billing_mode_to_summarize(dynamo: Dynamo) -> None:
    units = {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}
    assert "BillingModeSummary" not in create(dynamo, BillingMode="PROVISIONED", ProvisionedThroughput=units)
    assert update(dynamo, BillingMode="PAY_PER_REQUEST")["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_the_throughput_mode_stands_for_the_billing_mode(dynamo: Dynamo) -> None:
    units = {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}
    created = create(dynamo, BillingMode=None, TableThroughputMode="PAY_PER_REQUEST")
    assert created["TableThroughputModeSummary"] == {
        "TableThroughputMode": "PAY_PER_REQUEST",
        "LastUpdateToPayPerRequestDateTime": created["BillingModeSummary"]["LastUpdateToPayPerRequestDateTime"],
    }
    provisioned = update(dynamo, TableThroughputMode="PROVISIONED", ProvisionedThroughput=units)
    assert provisioned["TableThroughputModeSummary"]["TableThroughputMode"] == "PROVISIONED"
    assert update(dynamo, TableThroughputMode="PAY_PER_REQUEST")["BillingModeSummary"]["BillingMode"] == (
        "PAY_PER_REQUEST"
    )
    with pytest.raises(ServiceError, match="ProvisionedThroughput must be specified when BillingMode is PROVISIONED"):
        update(dynamo, TableThroughputMode="PROVISIONED")


def test_the_billing_mode_goes_before_the_throughput_mode(dynamo: Dynamo) -> None:
    units = {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}
    created = create(
        dynamo, BillingMode="PROVISIONED", TableThroughputMode="PAY_PER_REQUEST", ProvisionedThroughput=units
    )
    assert "TableThroughputModeSummary" not in created
    with pytest.raises(ServiceError, match=r"Neither ReadCapacityUnits nor .* when BillingMode is PAY_PER_REQUEST"):
        update(
            dynamo,
            BillingMode="PAY_PER_REQUEST",
            TableThroughputMode="PROVISIONED",
            ProvisionedThroughput={"ReadCapacityUnits": 4, "WriteCapacityUnits": 4},
        )


@pytest.mark.parametrize("operation", ["CreateTable", "UpdateTable"])
def test_both_names_of_the_billing_mode_are_looked_at(dynamo: Dynamo, operation: str) -> None:
    modes = "failed to satisfy constraint: Member must satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]"
    keys = {"KeySchema": [HASH], "AttributeDefinitions": [TEXT]} if operation == "CreateTable" else {}
    with pytest.raises(ServiceError) as one:
        dynamo(operation, TableName="nope", BillingMode="PAY_PER_REQUEST", TableThroughputMode="B", **keys)
    assert one.value.message == f"1 validation error detected: Value 'B' at 'tableThroughputMode' {modes}"
    with pytest.raises(ServiceError) as both:
        dynamo(operation, TableName="nope", BillingMode="A", TableThroughputMode="B", **keys)
    assert both.value.message == (
        f"2 validation errors detected: Value 'A' at 'billingMode' {modes}; Value 'B' at 'tableThroughputMode' {modes}"
    )


UNITS = {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}
OTHER_UNITS = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 4}
WITH_A = [TEXT, {"AttributeName": "a", "AttributeType": "S"}]
BY_A = {
    "IndexName": "by-a",
    "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "ALL"},
}


def throughput(described: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a description says of the table's throughput, and of that of its one index."""
    (index,) = described["GlobalSecondaryIndexes"]
    return described["ProvisionedThroughput"], index["ProvisionedThroughput"]


def create_provisioned(dynamo: Dynamo) -> None:
    """Make the table with one index, each with the same units."""
    create(
        dynamo,
        BillingMode="PROVISIONED",
        ProvisionedThroughput=UNITS,
        AttributeDefinitions=WITH_A,
        GlobalSecondaryIndexes=[{**BY_A, "ProvisionedThroughput": UNITS}],
    )


def test_units_are_dated_when_they_change(dynamo: Dynamo, clock: Clock) -> None:
    create_provisioned(dynamo)
    made = {"NumberOfDecreasesToday": 0, **UNITS}
    assert throughput(describe(dynamo)) == (made, made)
    clock.advance(s=60)
    update(dynamo, ProvisionedThroughput=OTHER_UNITS)
    now_s = clock.now_ms / 1000
    both = {"LastIncreaseDateTime": now_s, "LastDecreaseDateTime": now_s}
    assert throughput(describe(dynamo)) == ({**made, **OTHER_UNITS, **both}, made)
    clock.advance(s=60)
    raised = {**UNITS, "WriteCapacityUnits": 9}
    update(dynamo, GlobalSecondaryIndexUpdates=[{"Update": {"IndexName": "by-a", "ProvisionedThroughput": raised}}])
    assert throughput(describe(dynamo))[1] == {**made, **raised, "LastIncreaseDateTime": clock.now_ms / 1000}


def test_what_is_to_be_held_ready_is_not_at_once(dynamo: Dynamo) -> None:
    index: dict[str, Any] = {**BY_A, "WarmThroughput": {"ReadUnitsPerSecond": 13_000, "WriteUnitsPerSecond": 5_000}}
    warm = {"ReadUnitsPerSecond": 14_000, "WriteUnitsPerSecond": 6_000}
    made = create(dynamo, AttributeDefinitions=WITH_A, GlobalSecondaryIndexes=[index], WarmThroughput=warm)
    assert made["WarmThroughput"] == {**warm, "Status": "UPDATING"}
    assert made["GlobalSecondaryIndexes"][0]["WarmThroughput"] == {**index["WarmThroughput"], "Status": "UPDATING"}
    assert describe(dynamo)["WarmThroughput"] == {**warm, "Status": "ACTIVE"}
    changes = [{"Update": {"IndexName": "by-a", "WarmThroughput": warm}}]
    more = {"ReadUnitsPerSecond": 15_000, "WriteUnitsPerSecond": 6_000}
    updated = update(dynamo, WarmThroughput=more, GlobalSecondaryIndexUpdates=changes)
    assert updated["WarmThroughput"] == {**more, "Status": "UPDATING"}
    assert updated["GlobalSecondaryIndexes"][0]["WarmThroughput"] == {**warm, "Status": "UPDATING"}
    assert describe(dynamo)["GlobalSecondaryIndexes"][0]["WarmThroughput"] == {**warm, "Status": "ACTIVE"}
    with pytest.raises(ServiceError, match="WarmThroughput must be the only operation in the request"):
        update(dynamo, WarmThroughput=more, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-a"}}])


def test_an_update_tells_the_units_that_hold_until_its_end(dynamo: Dynamo, clock: Clock) -> None:
    create_provisioned(dynamo)
    before = UNITS
    for day, (units, lowered) in enumerate([((9, 9), 0), ((8, 9), 0), ((8, 8), 1), ((9, 7), 0)]):
        if day == 3:
            clock.advance(s=86_400)
        wanted = dict(zip(UNITS, units, strict=True))
        changes = [{"Update": {"IndexName": "by-a", "ProvisionedThroughput": wanted}}]
        updated = update(dynamo, ProvisionedThroughput=wanted, GlobalSecondaryIndexUpdates=changes)
        for told in throughput(updated):
            assert told.items() >= {**before, "NumberOfDecreasesToday": lowered}.items()
        assert updated["GlobalSecondaryIndexes"][0]["IndexStatus"] == "UPDATING"
        for told in throughput(describe(dynamo)):
            assert told.items() >= wanted.items()
        before = wanted


@pytest.mark.parametrize(
    ("billing_mode", "fields", "message"),
    [
        (
            "PROVISIONED",
            {"AttributeDefinitions": WITH_A, "GlobalSecondaryIndexUpdates": [{"Create": {**BY_A, "IndexName": "new"}}]},
            "Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: new",
        ),
        (
            "PROVISIONED",
            {"GlobalSecondaryIndexUpdates": [{"Update": {"IndexName": "by-a", "ProvisionedThroughput": UNITS}}]},
            "The provisioned throughput for the index by-a will not change",
        ),
        (
            "PAY_PER_REQUEST",
            {"GlobalSecondaryIndexUpdates": [{"Update": {"IndexName": "by-a", "ProvisionedThroughput": UNITS}}]},
            "The only Updates for index: by-a when TableThroughputMode is PAY_PER_REQUEST can be to OnDemandThroughput",
        ),
        (
            "PAY_PER_REQUEST",
            {
                "AttributeDefinitions": WITH_A,
                "GlobalSecondaryIndexUpdates": [
                    {"Create": {**BY_A, "IndexName": "new", "ProvisionedThroughput": UNITS}},
                ],
            },
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: new when BillingMode is",
        ),
        (
            "PAY_PER_REQUEST",
            {"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS},
            "ProvisionedThroughput must be specified for index: by-a",
        ),
    ],
)
def test_the_units_of_an_index_follow_the_billing_mode(
    dynamo: Dynamo, billing_mode: str, fields: Any, message: str
) -> None:
    given = {"ProvisionedThroughput": UNITS} if billing_mode == "PROVISIONED" else {}
    create(
        dynamo,
        BillingMode=billing_mode,
        AttributeDefinitions=WITH_A,
        GlobalSecondaryIndexes=[{**BY_A, **given}],
        **given,
    )
    with pytest.raises(ServiceError, match=message):
        update(dynamo, **fields)


STREAM = {"StreamSpecification": ON}
PROTECTED = {"DeletionProtectionEnabled": True}
NEW_INDEX = {"AttributeDefinitions": WITH_A, "GlobalSecondaryIndexUpdates": [{"Create": BY_A}]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**PROTECTED, "SSESpecification": {"Enabled": True}}, "Server-Side Encryption modification must be the only"),
        ({**PROTECTED, "TableClass": "STANDARD"}, "TableClass modification must be the only operation in the request"),
        ({**PROTECTED, **STREAM}, "DeletionProtection modification must be the only operation in the request"),
        ({**PROTECTED, **NEW_INDEX}, "DeletionProtection modification must be the only operation in the request"),
        ({**STREAM, "WarmThroughput": {"ReadUnitsPerSecond": 20_000}}, "WarmThroughput must be the only operation in"),
        ({**STREAM, "OnDemandThroughput": {"MaxReadRequestUnits": 5}}, "can only be combined with BillingMode in an"),
        ({**STREAM, "ProvisionedThroughput": UNITS}, "You cannot modify stream status while updating table IOPS"),
        ({**NEW_INDEX, "ProvisionedThroughput": UNITS}, "cannot create or delete index while updating table IOPS"),
        ({**NEW_INDEX, **STREAM}, "You cannot create or delete index while changing stream status"),
        ({"TableClass": "STANDARD", "GlobalSecondaryIndexUpdates": []}, "List of GlobalSecondaryIndexUpdates is empty"),
    ],
)
def test_one_update_changes_one_thing(dynamo: Dynamo, fields: Any, message: str) -> None:
    create(dynamo)
    with pytest.raises(ServiceError, match=message):
        update(dynamo, **fields)
    assert describe(dynamo).get("StreamSpecification") is None


def test_a_stream_is_enabled_along_with_what_is_billed_per_request(dynamo: Dynamo) -> None:
    create(dynamo, BillingMode="PROVISIONED", ProvisionedThroughput=UNITS)
    described = update(dynamo, BillingMode="PAY_PER_REQUEST", **STREAM)
    assert (described["StreamSpecification"], described["BillingModeSummary"]["BillingMode"]) == (ON, "PAY_PER_REQUEST")


def test_an_index_is_said_to_be_made_and_deleted(dynamo: Dynamo) -> None:
    def statuses(described: dict[str, Any]) -> list[str]:
        return [index["IndexStatus"] for index in described.get("GlobalSecondaryIndexes", [])]

    created = create(dynamo, AttributeDefinitions=WITH_A, GlobalSecondaryIndexes=[BY_A])
    assert (statuses(created), statuses(describe(dynamo))) == (["CREATING"], ["ACTIVE"])
    another = {**BY_A, "IndexName": "by-a-too"}
    more = update(dynamo, AttributeDefinitions=WITH_A, GlobalSecondaryIndexUpdates=[{"Create": another}])
    assert statuses(more) == ["ACTIVE", "CREATING"]
    less = update(dynamo, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-a"}}])
    assert statuses(less) == ["ACTIVE", "DELETING"]
    assert statuses(describe(dynamo)) == ["ACTIVE"]


def test_what_point_in_time_recovery_reaches(dynamo: Dynamo, clock: Clock) -> None:
    create(dynamo, StreamSpecification={"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"})
    clock.advance(s=60)

    def told(operation: str, **fields: Any) -> Any:
        described = dynamo(operation, TableName="things", **fields)["ContinuousBackupsDescription"]
        recovery = described["PointInTimeRecoveryDescription"]
        assert described["ContinuousBackupsStatus"] == "ENABLED"
        return recovery

    assert told("DescribeContinuousBackups") == {"PointInTimeRecoveryStatus": "DISABLED"}
    on = {"PointInTimeRecoveryEnabled": True}
    since_s = clock.now_ms / 1000
    told("UpdateContinuousBackups", PointInTimeRecoverySpecification=on)
    clock.advance(s=3_600)
    shorter = {**on, "RecoveryPeriodInDays": 7}
    assert told("UpdateContinuousBackups", PointInTimeRecoverySpecification=shorter) == {
        "PointInTimeRecoveryStatus": "ENABLED",
        "RecoveryPeriodInDays": 7,
        "EarliestRestorableDateTime": since_s,
        "LatestRestorableDateTime": since_s + 3_300,
    }
    with pytest.raises(ServiceError, match=r"Value .36. at .*recoveryPeriodInDays"):
        told("UpdateContinuousBackups", PointInTimeRecoverySpecification={**on, "RecoveryPeriodInDays": 36})
    # Without old images nobody knows what the table was.
    update(dynamo, StreamSpecification=OFF)
    found = told("UpdateContinuousBackups", PointInTimeRecoverySpecification=on)
    assert found["EarliestRestorableDateTime"] == found["LatestRestorableDateTime"] == clock.now_ms / 1000


def test_what_bounds_requests_is_remembered(dynamo: Dynamo) -> None:
    create(dynamo, OnDemandThroughput={"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 5})
    assert describe(dynamo)["OnDemandThroughput"] == {"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 5}
    update(dynamo, OnDemandThroughput={"MaxReadRequestUnits": 20})
    assert describe(dynamo)["OnDemandThroughput"] == {"MaxReadRequestUnits": 20, "MaxWriteRequestUnits": 5}


def test_what_bounds_an_indexs_requests_is_remembered(dynamo: Dynamo) -> None:
    create(
        dynamo,
        AttributeDefinitions=WITH_A,
        GlobalSecondaryIndexes=[{**BY_A, "OnDemandThroughput": {"MaxReadRequestUnits": 7, "MaxWriteRequestUnits": 8}}],
    )
    changed = {"IndexName": "by-a", "OnDemandThroughput": {"MaxReadRequestUnits": -1}}
    update(dynamo, GlobalSecondaryIndexUpdates=[{"Update": changed}])
    (index,) = describe(dynamo)["GlobalSecondaryIndexes"]
    assert index["OnDemandThroughput"] == {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 8}
    with pytest.raises(
        ServiceError, match="Requested MaxReadRequestUnits for OnDemandThroughput for table is outside of valid range"
    ):
        update(dynamo, OnDemandThroughput={"MaxReadRequestUnits": 0})


def test_a_provisioned_table_has_no_bound_on_demand(dynamo: Dynamo) -> None:
    units = {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}
    fields: dict[str, Any] = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}
    bound = {"MaxReadRequestUnits": 10}
    message = "MaxReadRequestUnits for OnDemandThroughput cannot be specified when the table BillingMode is PROVISIONED"
    with pytest.raises(ServiceError, match=message):
        create(dynamo, **fields, OnDemandThroughput=bound)
    create(dynamo, **fields)
    with pytest.raises(ServiceError, match=message):
        update(dynamo, OnDemandThroughput=bound)


def test_the_key_that_a_table_is_said_to_be_encrypted_with(dynamo: Dynamo) -> None:
    assert "SSEDescription" not in create(dynamo, SSESpecification={"Enabled": False})
    managed = update(dynamo, SSESpecification={"Enabled": True})["SSEDescription"]
    assert (managed["Status"], managed["SSEType"]) == ("ENABLED", "KMS")
    assert re.fullmatch(r"arn:aws:kms:us-east-1:\d{12}:key/[0-9a-f-]{36}", managed["KMSMasterKeyArn"])
    chosen = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "1234"}
    own = update(dynamo, SSESpecification=chosen)["SSEDescription"]
    assert own["KMSMasterKeyArn"].endswith(":key/1234")
    gone = update(dynamo, SSESpecification={"Enabled": False})["SSEDescription"]
    assert gone == {**own, "Status": "UPDATING"}
    assert "SSEDescription" not in describe(dynamo)
    for specification, message in (
        ({"Enabled": False}, "Table is already encrypted by default"),
        ({"Enabled": True, "KMSMasterKeyId": "1234"}, "SSEType KMS is required if KMSMasterKeyId is specified"),
        ({"Enabled": True, "SSEType": "AES256"}, "SSEType AES256 is not supported"),
    ):
        with pytest.raises(ServiceError, match=message):
            update(dynamo, SSESpecification=specification)


def test_an_index_is_as_warm_as_it_was_asked_to_be(dynamo: Dynamo, environment: Environment) -> None:
    index: dict[str, Any] = {"IndexName": "by-a", "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}]}
    index |= {"Projection": {"ProjectionType": "ALL"}, "WarmThroughput": {"ReadUnitsPerSecond": 15_000}}
    definitions = [TEXT, {"AttributeName": "a", "AttributeType": "S"}]
    create(dynamo, AttributeDefinitions=definitions, GlobalSecondaryIndexes=[index])
    another = {**index, "IndexName": "by-a-too", "WarmThroughput": {"WriteUnitsPerSecond": 5_000}}
    update(dynamo, AttributeDefinitions=definitions, GlobalSecondaryIndexUpdates=[{"Create": another}])
    path = Path(environment.lmdb.path())
    environment.close()
    again = open_store(path, Clock())
    try:
        found = describe(Dynamo(again))["GlobalSecondaryIndexes"]
    finally:
        again.close()
    assert {each["IndexName"]: each["WarmThroughput"] for each in found} == {
        "by-a": {"ReadUnitsPerSecond": 15_000, "WriteUnitsPerSecond": 4_000, "Status": "ACTIVE"},
        "by-a-too": {"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 5_000, "Status": "ACTIVE"},
    }


def test_an_index_is_not_colder_than_every_index(dynamo: Dynamo) -> None:
    index: dict[str, Any] = {"IndexName": "by-a", "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}]}
    index |= {"Projection": {"ProjectionType": "ALL"}, "WarmThroughput": {"ReadUnitsPerSecond": 10_000}}
    definitions = [TEXT, {"AttributeName": "a", "AttributeType": "S"}]
    with pytest.raises(ServiceError, match="for index by-a is lower than initial throughput for OnDemand"):
        create(dynamo, AttributeDefinitions=definitions, GlobalSecondaryIndexes=[index])


def test_a_batch_calls_its_tables_what_its_request_calls_them(dynamo: Dynamo) -> None:
    arn = create(dynamo)["TableArn"]
    dynamo.put(pk="1")
    item = encode_item({"pk": "1"})
    assert dynamo("BatchGetItem", RequestItems={arn: {"Keys": [item]}})["Responses"] == {arn: [item]}


def test_a_batch_reads_a_table_once_that_it_calls_by_two_names(dynamo: Dynamo) -> None:
    arn = create(dynamo)["TableArn"]
    items = [{"pk": {"S": str(number)}} for number in range(3)]
    for number in range(3):
        dynamo.put(pk=str(number))
    request = {arn: {"Keys": items[:2]}, "things": {"Keys": items[1:]}}
    (found,) = dynamo("BatchGetItem", RequestItems=request)["Responses"].values()
    assert found == items
    with pytest.raises(ServiceError, match="contains duplicates"):
        dynamo("BatchGetItem", RequestItems={**request, "things": {"Keys": [items[2], items[2]]}})


def test_what_a_request_cost_names_the_table_as_the_request_does(dynamo: Dynamo) -> None:
    arn = create(dynamo)["TableArn"]
    key = encode_item({"pk": "1"})
    query = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "1"}}}
    single: dict[str, dict[str, Any]] = {"PutItem": {"Item": key}, "GetItem": {"Key": key}, "Query": query, "Scan": {}}
    for name in (arn, "things"):
        several: dict[str, dict[str, Any]] = {
            "BatchGetItem": {"RequestItems": {name: {"Keys": [key]}}},
            "BatchWriteItem": {"RequestItems": {name: [{"PutRequest": {"Item": key}}]}},
            "TransactGetItems": {"TransactItems": [{"Get": {"TableName": name, "Key": key}}]},
            "TransactWriteItems": {"TransactItems": [{"Put": {"TableName": name, "Item": key}}]},
        }
        for operation, fields in single.items():
            answer = dynamo(operation, **fields, TableName=name, ReturnConsumedCapacity="TOTAL")
            assert answer["ConsumedCapacity"]["TableName"] == name
        for operation, body in several.items():
            answer = dynamo(operation, **body, ReturnConsumedCapacity="INDEXES")
            assert [each["TableName"] for each in answer["ConsumedCapacity"]] == [name]


def test_a_key_given_twice_is_refused_before_its_table_is_looked_for(dynamo: Dynamo) -> None:
    key = {"pk": {"S": "p"}, "other": {"N": "1"}}
    with pytest.raises(ServiceError, match="Provided list of item keys contains duplicates"):
        dynamo("BatchGetItem", RequestItems={"things": {"Keys": [key, dict(reversed(key.items()))]}})
    with pytest.raises(ServiceError, match="Requested resource not found"):
        dynamo("BatchGetItem", RequestItems={"things": {"Keys": [key]}})


def test_a_batch_is_projected_in_one_way_for_all_tables(dynamo: Dynamo) -> None:
    create(dynamo)
    dynamo.create("others")
    projected = {
        "things": {"Keys": [encode_item({"pk": "1"})], "ProjectionExpression": "pk"},
        "others": {"Keys": [encode_item({"pk": "1", "sk": "1"})], "AttributesToGet": ["pk"]},
    }
    with pytest.raises(ServiceError, match="Can not use both expression and non-expression parameters"):
        dynamo("BatchGetItem", RequestItems=projected)


EMPTY = encode_item({"pk": ""})
TOUCH = {"UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": {"S": "x"}}}


@pytest.mark.parametrize(
    "member",
    [
        {"Put": {"Item": EMPTY}},
        {"Update": {"Key": EMPTY, **TOUCH}},
        {"Delete": {"Key": EMPTY}},
        {"ConditionCheck": {"Key": EMPTY, "ConditionExpression": "attribute_exists(pk)"}},
        {"Get": {"Key": EMPTY}},
    ],
    ids=lambda member: next(iter(member)),
)
def test_an_empty_key_refuses_the_transaction_where_a_wrong_one_cancels_it(dynamo: Dynamo, member: Any) -> None:
    create(dynamo)
    ((kind, fields),) = member.items()
    operation = "TransactGetItems" if kind == "Get" else "TransactWriteItems"
    with pytest.raises(ServiceError, match="cannot contain an empty string value") as refused:
        dynamo(operation, TransactItems=[{kind: {"TableName": "things", **fields}}])
    assert refused.value.code == "ValidationException"
    where = "Item" if kind == "Put" else "Key"
    with pytest.raises(TransactionCanceled):
        dynamo(operation, TransactItems=[{kind: {"TableName": "things", **fields, where: {"pk": {"N": "1"}}}}])


def test_what_a_table_is_set_to(dynamo: Dynamo, environment: Environment) -> None:
    created = create(dynamo, DeletionProtectionEnabled=True, TableClass="STANDARD")
    assert (created["TableStatus"], describe(dynamo)["TableStatus"]) == ("CREATING", "ACTIVE")
    assert created["BillingModeSummary"]["LastUpdateToPayPerRequestDateTime"] == created["CreationDateTime"]
    with pytest.raises(ServiceError, match="protected against deletion"):
        dynamo("DeleteTable", TableName="things")
    units = {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}
    provisioned = update(dynamo, BillingMode="PROVISIONED", ProvisionedThroughput=units)
    assert provisioned["ProvisionedThroughput"].items() >= {"NumberOfDecreasesToday": 0, **units}.items()
    assert provisioned["BillingModeSummary"] == {**created["BillingModeSummary"], "BillingMode": "PROVISIONED"}
    with pytest.raises(ServiceError, match="The provisioned throughput for the table will not change"):
        update(dynamo, ProvisionedThroughput=units)
    assert update(dynamo, TableClass="STANDARD_INFREQUENT_ACCESS")["TableClassSummary"]["LastUpdateDateTime"]
    update(dynamo, DeletionProtectionEnabled=False)
    deleted = dynamo("DeleteTable", TableName="things")["TableDescription"]
    assert deleted["TableStatus"] == "DELETING"
    assert not {"KeySchema", "AttributeDefinitions", "CreationDateTime"} & deleted.keys()
    with pytest.raises(ServiceError, match="Requested resource not found: Table: things not found"):
        describe(dynamo)


def test_a_table_is_the_same_after_a_restart(dynamo: Dynamo, environment: Environment, clock: Clock) -> None:
    create(
        dynamo,
        AttributeDefinitions=[TEXT, {"AttributeName": "a", "AttributeType": "N"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-a",
                "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["b"]},
            }
        ],
        Tags=[{"Key": "k", "Value": "v"}],
        WarmThroughput={"ReadUnitsPerSecond": 13_000},
    )
    dynamo.put(pk="1", a=1, b="b", c="c")
    before = describe(dynamo)
    path = environment.lmdb.path()
    environment.close()
    again = open_store(Path(path), clock)
    try:
        reopened = Dynamo(again)
        assert describe(reopened) == before
        found = reopened("Scan", TableName="things", IndexName="by-a")["Items"]
        assert found == [encode_item({"pk": "1", "a": 1, "b": "b"})]
    finally:
        again.close()


def arn(dynamo: Dynamo) -> str:
    return str(describe(dynamo)["TableArn"])


def test_tags(dynamo: Dynamo) -> None:
    create(dynamo, Tags=[{"Key": "a", "Value": "1"}])
    resource = arn(dynamo)
    assert resource == f"arn:aws:dynamodb:{Identity().region}:{Identity().account_id}:table/things"
    dynamo("TagResource", ResourceArn=resource, Tags=[{"Key": "b", "Value": ""}, {"Key": "a", "Value": "2"}])
    dynamo("UntagResource", ResourceArn=resource, TagKeys=["b", "z"])
    assert dynamo("ListTagsOfResource", ResourceArn=resource)["Tags"] == [{"Key": "a", "Value": "2"}]
    for tags, message in (
        ([], "Atleast one Tag needs to be provided"),
        ([{"Key": "", "Value": "x"}], "The Tag Key provided is invalid, Key: $"),
        ([{"Key": "x" * 129, "Value": "x"}], "The Tag Key provided is invalid, Key: x{129}$"),
        ([{"Key": "a", "Value": "x"}, {"Key": "x"}], "The Tag Value provided is invalid, Value: null"),
        ([{"Key": "x%", "Value": ""}], "The Tag Key provided is invalid, Key: x%"),
        ([{"Key": "x", "Value": "d%g"}], "The Tag Value provided is invalid"),
        ([{"Key": "aws:x", "Value": "x"}], "cannot be prefixed with aws:"),
        ([{"Key": str(number), "Value": ""} for number in range(50)], "Number of Tags exceed the current limit"),
    ):
        with pytest.raises(ServiceError, match=message):
            dynamo("TagResource", ResourceArn=resource, Tags=tags)
    for wrong, message in (
        ("things", "ARNs must start with 'arn:'"),
        (f"{resource}x", "Requested resource not found"),
        (f"{resource}/index/a", "only table or stream is accepted"),
    ):
        with pytest.raises(ServiceError, match=message):
            dynamo("ListTagsOfResource", ResourceArn=wrong)


def test_time_to_live_rules(dynamo: Dynamo) -> None:
    create(dynamo)

    def switch(attribute: str, *, enabled: bool) -> None:
        specification = {"AttributeName": attribute, "Enabled": enabled}
        dynamo("UpdateTimeToLive", TableName="things", TimeToLiveSpecification=specification)

    with pytest.raises(ServiceError, match="TimeToLive is already disabled"):
        switch("ttl", enabled=False)
    switch("ttl", enabled=True)
    with pytest.raises(ServiceError, match="TimeToLive is already enabled"):
        switch("ttl", enabled=True)
    with pytest.raises(ServiceError, match="active on a different AttributeName: current AttributeName is ttl"):
        switch("other", enabled=False)
    switch("ttl", enabled=False)
    answer = dynamo("DescribeTimeToLive", TableName="things")
    assert answer == {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}


def test_backups_limits_and_endpoints(dynamo: Dynamo) -> None:
    create(dynamo)
    described = dynamo("DescribeContinuousBackups", TableName="things")["ContinuousBackupsDescription"]
    assert described["PointInTimeRecoveryDescription"] == {"PointInTimeRecoveryStatus": "DISABLED"}
    enabled = {"PointInTimeRecoveryEnabled": True}
    answer = dynamo("UpdateContinuousBackups", TableName="things", PointInTimeRecoverySpecification=enabled)
    recovery = answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    with pytest.raises(ServiceError, match="Table not found: nope"):
        dynamo("DescribeContinuousBackups", TableName="nope")
    assert dynamo("DescribeLimits")["TableMaxReadCapacityUnits"] == 40_000
    (endpoint,) = dynamo("DescribeEndpoints")["Endpoints"]
    assert endpoint["CachePeriodInMinutes"] > 0


def test_keys_as_long_as_dynamodb_allows(dynamo: Dynamo) -> None:
    dynamo.create()
    keys = ["x" * length for length in (400, 490, 491, 492, 1023, 1024)]
    for key in keys:
        dynamo.put(pk="p" * 2048, sk=key, n=len(key))
    for key in keys:
        item = dynamo("GetItem", TableName="things", Key=encode_item({"pk": "p" * 2048, "sk": key}))["Item"]
        assert item["n"] == {"N": str(len(key))}
    query = {
        "TableName": "things",
        "KeyConditionExpression": "pk = :p AND sk > :low",
        "ExpressionAttributeValues": encode_item({":p": "p" * 2048, ":low": "x" * 491}),
    }
    assert [item["sk"]["S"] for item in dynamo("Query", **query)["Items"]] == keys[3:]
    page = dynamo("Query", **query, Limit=2, ScanIndexForward=False)
    assert [item["sk"]["S"] for item in page["Items"]] == keys[:3:-1]
    rest = dynamo("Query", **query, ScanIndexForward=False, ExclusiveStartKey=page["LastEvaluatedKey"])
    assert [item["sk"]["S"] for item in rest["Items"]] == [keys[3]]
    for key in keys:
        dynamo.delete(pk="p" * 2048, sk=key)
    assert dynamo.items() == []
    with pytest.raises(ServiceError, match="exceeded the size limit of 1024 bytes"):
        dynamo.put(pk="p", sk="x" * 1025)


def test_batch_get_answers_16_mb_and_names_the_rest(dynamo: Dynamo) -> None:
    create(dynamo)
    for number in range(50):
        dynamo.put(pk=str(number), text="x" * 390_000)
    keys = [{"pk": {"S": str(number)}} for number in [*range(50), 99]]
    request = {"things": {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": "pk"}}
    answer = dynamo("BatchGetItem", RequestItems=request, ReturnConsumedCapacity="TOTAL")
    got = answer["Responses"]["things"]
    left = answer["UnprocessedKeys"]["things"]
    assert [*got, *left["Keys"]] == keys
    assert len(got) == 43
    assert (left["ConsistentRead"], left["ProjectionExpression"]) == (True, "pk")
    assert answer["ConsumedCapacity"] == [{"TableName": "things", "CapacityUnits": 43 * 96.0}]
    rest = dynamo("BatchGetItem", RequestItems=answer["UnprocessedKeys"])
    assert rest["UnprocessedKeys"] == {}
    assert len(rest["Responses"]["things"]) == 7


def test_transact_get(dynamo: Dynamo) -> None:
    create(dynamo)
    dynamo.put(pk="1", a=1, b=2)

    def get(key: Any, **fields: Any) -> dict[str, Any]:
        return {"Get": {"TableName": "things", "Key": encode_item({"pk": key}), **fields}}

    answer = dynamo(
        "TransactGetItems",
        TransactItems=[get("1", ProjectionExpression="a"), get("2")],
        ReturnConsumedCapacity="TOTAL",
    )
    assert answer["Responses"] == [{"Item": {"a": {"N": "1"}}}, {}]
    capacity = {"TableName": "things", "CapacityUnits": 4.0, "ReadCapacityUnits": 4.0}
    assert answer["ConsumedCapacity"] == [capacity]
    nothing = dynamo("TransactGetItems", TransactItems=[get("1", ProjectionExpression="c")])
    assert nothing["Responses"] == [{}]  # GetItem has an empty Item here
    with pytest.raises(ServiceError, match="multiple operations on one item"):
        dynamo("TransactGetItems", TransactItems=[get("1"), get("1")])
    with pytest.raises(TransactionCanceled) as canceled:
        dynamo("TransactGetItems", TransactItems=[get("1"), get(7), get(8)])
    assert [reason["Code"] for reason in canceled.value.reasons] == ["None", "ValidationError", "None"]


def test_the_first_key_that_does_not_fit_cancels_a_transaction(dynamo: Dynamo) -> None:
    create(dynamo)
    puts = [{"Put": {"TableName": "things", "Item": encode_item({"pk": key})}} for key in ("1", 7, 8)]
    with pytest.raises(TransactionCanceled) as canceled:
        dynamo("TransactWriteItems", TransactItems=puts)
    assert [reason["Code"] for reason in canceled.value.reasons] == ["None", "ValidationError", "None"]
    assert dynamo.items() == []


def test_values_of_a_transaction_may_have_one_level_more_than_an_item(dynamo: Dynamo) -> None:
    create(dynamo)
    dynamo.put(pk="1", a=1)

    def transact(kind: str, levels: int = 33, **fields: Any) -> None:
        value: dict[str, Any] = {"S": "x"}
        for _ in range(levels - 1):
            value = {"L": [value]}
        asked = {"TableName": "things", "Key": {"pk": {"S": "1"}}, "ExpressionAttributeValues": {":v": value}, **fields}
        dynamo("TransactWriteItems", TransactItems=[{kind: asked}])

    compared: dict[str, Any] = {"ConditionExpression": "a = :v"}
    updating: dict[str, Any] = {"UpdateExpression": "REMOVE a"}
    for kind, fields in (("ConditionCheck", {}), ("Delete", {}), ("Update", updating)):
        with pytest.raises(TransactionCanceled, match="ConditionalCheckFailed"):
            transact(kind, **compared, **fields)
        with pytest.raises(ServiceError, match="ExpressionAttributeValues contains invalid value: Nesting Levels"):
            transact(kind, 34, **compared, **fields)
    for expression in ("SET b = :v", "SET b = if_not_exists(c, :v)", "SET b = list_append(:v, :v)"):
        with pytest.raises(TransactionCanceled) as canceled:
            transact("Update", UpdateExpression=expression)
        assert str(canceled.value.reasons[0]["Message"]).startswith("Nesting Levels have exceeded supported limits")
    transact("Update", 32, UpdateExpression="SET b = :v")
    assert dynamo.items()[0].keys() == {"pk", "a", "b"}


def test_deep_expressions_parse(dynamo: Dynamo) -> None:
    create(dynamo)
    depth = 149
    expression = "a < b " + "or (a < b " * depth + ")" * depth
    dynamo.put(pk="1", a=1, b=2)
    found = dynamo("Scan", TableName="things", FilterExpression=expression)
    assert found["Count"] == 1


@pytest.mark.parametrize("item", [{"pk": 5}, {"pk": ["x"]}, {"other": "x"}])
def test_a_put_in_a_batch_is_told_that_its_key_does_not_fit_and_no_more(dynamo: Dynamo, item: dict[str, Any]) -> None:
    create(dynamo)
    batch = {"things": [{"PutRequest": {"Item": {"pk": {"S": "fine"}}}}, {"PutRequest": {"Item": encode_item(item)}}]}
    with pytest.raises(ServiceError, match="The provided key element does not match the schema"):
        dynamo("BatchWriteItem", RequestItems=batch)
    assert dynamo.items() == []
    with pytest.raises(ServiceError, match=r"Type mismatch for key pk|Missing the key pk"):
        dynamo("PutItem", TableName="things", Item=encode_item(item))


@pytest.mark.parametrize(
    ("operation", "body", "answer"),
    [
        ("ListBackups", {}, {"BackupSummaries": []}),
        ("ListExports", {}, {"ExportSummaries": []}),
        ("ListImports", {}, {"ImportSummaryList": []}),
        ("ListGlobalTables", {}, {"GlobalTables": []}),
        ("ListBulkOperations", {"MaxResults": 25}, {"BulkOperationsSummaryList": []}),
        ("ListContributorInsights", {}, {"ContributorInsightsSummaries": []}),
        (
            "DescribeContributorInsights",
            {"TableName": "things"},
            {"TableName": "things", "ContributorInsightsStatus": "DISABLED"},
        ),
        (
            "DescribeTableReplicaAutoScaling",
            {"TableName": "things"},
            {"TableAutoScalingDescription": {"TableName": "things", "TableStatus": "ACTIVE", "Replicas": []}},
        ),
    ],
)
def test_a_table_has_no_backups_nor_insights(dynamo: Dynamo, operation: str, body: Any, answer: Any) -> None:
    create(dynamo)
    assert dynamo(operation, **body) == answer


ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/things"
OF_SHORT = "arn:aws:dynamodb:us-east-1:000000000000:table/x"


def test_a_table_that_would_be_another_s_replica_is_refused(dynamo: Dynamo) -> None:
    source = "arn:aws:dynamodb:eu-west-1:111111111111:table/things"
    with pytest.raises(ServiceError, match="Replicas are not offered") as refused:
        create(dynamo, GlobalTableSourceArn=source)
    assert refused.value.code == "ValidationException"


IN_IRELAND = {"Create": {"RegionName": "eu-west-1"}}


@pytest.mark.parametrize(
    ("operation", "body", "code", "message"),
    [
        ("DescribeBackup", {"BackupArn": f"{ARN}/backup/1"}, "BackupNotFoundException", "Backup not found"),
        ("UpdateTableReplicaAutoScaling", {"TableName": "none"}, "ResourceNotFoundException", "Table: none not found"),
        ("UpdateTableReplicaAutoScaling", {"TableName": "things"}, "UnknownOperationException", "is not offered"),
        ("DeleteBackup", {"BackupArn": f"{ARN}/backup/1"}, "BackupNotFoundException", "Backup not found"),
        ("DeleteBackup", {}, "ValidationException", "Value null at 'backupArn'"),
        (
            "RestoreTableFromBackup",
            {"TargetTableName": "again", "BackupArn": f"{ARN}/backup/1"},
            "BackupNotFoundException",
            "Backup not found",
        ),
        ("DescribeExport", {"ExportArn": f"{ARN}/export/1"}, "ExportNotFoundException", "Export not found"),
        ("DescribeExport", {"ExportArn": ARN}, "ValidationException", "Invalid Export ARN"),
        ("DescribeImport", {}, "ValidationException", "Value null at 'importArn'"),
        ("DescribeImport", {"ImportArn": f"{ARN}/import/1"}, "ImportNotFoundException", "Import not found"),
        ("DescribeImport", {"ImportArn": f"{OF_SHORT}/import/1"}, "ValidationException", "Invalid Import ARN"),
        ("ListImports", {"NextToken": "0" * 112}, "ValidationException", "Invalid NextToken"),
        ("ListExports", {"NextToken": "0" * 112}, "ValidationException", "Invalid NextToken"),
        ("ListExports", {"MaxResults": 26}, "ValidationException", "'26' at 'maxResults' .* less than or equal to 25"),
        (
            "ListBackups",
            {"BackupType": "MINE"},
            "ValidationException",
            r"'MINE' at 'backupType' .* enum value set: \[USER",
        ),
        ("ListBackups", {"ExclusiveStartBackupArn": "arn"}, "ValidationException", "greater than or equal to 37"),
        ("ListExports", {"TableArn": ""}, "ValidationException", "'' at 'tableArn' .* greater than or equal to 1"),
        ("ListGlobalTables", {"ExclusiveStartGlobalTableName": "a b"}, "ValidationException", "expression pattern"),
        (
            "DescribeGlobalTable",
            {"GlobalTableName": "a/b"},
            "ValidationException",
            "'a/b' at 'globalTableName' .* pattern",
        ),
        ("DescribeBackup", {"BackupArn": "a" * 1025}, "ValidationException", "less than or equal to 1024"),
        ("CreateGlobalTable", {"GlobalTableName": "things"}, "ValidationException", "2017.11.29 is not supported"),
        (
            "UpdateGlobalTable",
            {"GlobalTableName": "things", "ReplicaUpdates": [IN_IRELAND]},
            "GlobalTableNotFoundException",
            "Global table with name 'things' does not exist",
        ),
        ("DescribeGlobalTableSettings", {}, "ValidationException", "Value null at 'globalTableName'"),
        (
            "UpdateTable",
            {"TableName": "things", "ReplicaUpdates": [{"Create": {"RegionName": "us-east-1"}}]},
            "ValidationException",
            "Cannot add or delete the local region through ReplicaUpdates",
        ),
        (
            "UpdateTable",
            {"TableName": "things", "ReplicaUpdates": [IN_IRELAND]},
            "ValidationException",
            "Replicas are not offered",
        ),
        (
            "UpdateTable",
            {
                "TableName": "things",
                "ReplicaUpdates": [
                    {"Disassociate": {"RegionName": "us-east-1", "DisassociationMode": "WAIT_FOR_REPLICATION"}}
                ],
            },
            "ValidationException",
            "no replica of a global table",
        ),
        (
            "UpdateTable",
            {"TableName": "things", "DisassociationProtectionEnabled": False},
            "ValidationException",
            "no replica of a global table",
        ),
        (
            "UpdateTable",
            {"TableName": "things", "DisassociationProtectionEnabled": "no"},
            "SerializationException",
            "token",
        ),
        (
            "UpdateTable",
            {"TableName": "things", "DisassociationProtectionEnabled": True, "DeletionProtectionEnabled": True},
            "ValidationException",
            "must be the only operation in the request",
        ),
        (
            "DescribeBulkOperation",
            {"BulkOperationArn": f"{ARN}/bulk/1"},
            "ResourceNotFoundException",
            "Bulk operation not found",
        ),
        (
            "CancelBulkOperation",
            {"BulkOperationArn": f"{ARN}/bulk/1"},
            "ResourceNotFoundException",
            "Bulk operation not found",
        ),
        ("DescribeBulkOperation", {}, "ValidationException", "Value null at 'bulkOperationArn'"),
        ("ListBulkOperations", {"MaxResults": 26}, "ValidationException", "less than or equal to 25"),
        ("StartBulkPutItems", {"TableName": "things"}, "UnknownOperationException", "StartBulkPutItems is not offered"),
        (
            "CreateBackup",
            {"TableName": "things", "BackupName": "first"},
            "UnknownOperationException",
            "CreateBackup is not offered",
        ),
        ("CreateBackup", {"TableName": "things", "BackupName": "a!"}, "ValidationException", "^Val.*2 .* 'backupName'"),
        (
            "CreateBackup",
            {"TableName": "nothing", "BackupName": "first"},
            "TableNotFoundException",
            "Table not found: nothing",
        ),
        (
            "RestoreTableToPointInTime",
            {"SourceTableName": "things", "TargetTableName": "again", "UseLatestRestorableTime": True},
            "PointInTimeRecoveryUnavailableException",
            "Point in time recovery is not enabled for table 'things'",
        ),
        (
            "ExportTableToPointInTime",
            {"TableArn": ARN, "S3Bucket": "files"},
            "PointInTimeRecoveryUnavailableException",
            "Point in time recovery is not enabled for table 'things'",
        ),
        ("ExportTableToPointInTime", {"TableArn": f"{ARN}s"}, "TableNotFoundException", f"Table not found: {ARN}s"),
    ],
)
def test_what_no_table_has_is_not_found(dynamo: Dynamo, operation: str, body: Any, code: str, message: str) -> None:
    create(dynamo)
    with pytest.raises(ServiceError, match=message) as refused:
        dynamo(operation, **body)
    assert refused.value.code == code
