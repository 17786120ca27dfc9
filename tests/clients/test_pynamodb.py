"""PynamoDB's models work unchanged: attributes, indexes, conditions, versions, time to live, batches, transactions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pynamodb.attributes import (
    BinaryAttribute,
    BooleanAttribute,
    JSONAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    NumberSetAttribute,
    TTLAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
    UTCDateTimeAttribute,
    VersionAttribute,
)
from pynamodb.connection import Connection
from pynamodb.exceptions import DeleteError, DoesNotExist, PutError, TableError, TransactWriteError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, IncludeProjection, LocalSecondaryIndex
from pynamodb.models import Model
from pynamodb.transactions import TransactGet, TransactWrite

from engine_process import EngineUnderTest

MADE_AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


class Address(MapAttribute[str, Any]):
    street = UnicodeAttribute()
    number = NumberAttribute(null=True)


class ByStatus(GlobalSecondaryIndex["Order"]):
    class Meta:
        index_name = "by-status"
        projection = IncludeProjection(["total"])

    status = UnicodeAttribute(hash_key=True)
    made_at = UTCDateTimeAttribute(range_key=True)


class ByTotal(LocalSecondaryIndex["Order"]):
    class Meta:
        index_name = "by-total"
        projection = AllProjection()

    customer = UnicodeAttribute(hash_key=True)
    total = NumberAttribute(range_key=True)


class Order(Model):
    class Meta:
        table_name = "orders"
        region = "eu-central-1"
        aws_access_key_id = "any"
        aws_secret_access_key = "any"
        billing_mode = "PAY_PER_REQUEST"
        max_retry_attempts = 0

    customer = UnicodeAttribute(hash_key=True)
    id = NumberAttribute(range_key=True)
    status = UnicodeAttribute(null=True)
    made_at = UTCDateTimeAttribute(default=MADE_AT)
    total = NumberAttribute(default=0)
    paid = BooleanAttribute(default=False)
    tags = UnicodeSetAttribute(null=True)
    sizes = NumberSetAttribute(null=True)
    notes: ListAttribute[Any] = ListAttribute(default=list)
    address = Address(null=True)  # type: ignore[no-untyped-call]
    extra = JSONAttribute(null=True)
    receipt = BinaryAttribute(legacy_encoding=False, null=True)
    expires = TTLAttribute(null=True)
    version = VersionAttribute()

    by_status = ByStatus()
    by_total = ByTotal()


# For the session, as the engine is: a process may come back to this module after tests of others.
@pytest.fixture(scope="session", autouse=True)
def orders(engine: EngineUnderTest) -> None:
    # This also switches the time to live on.
    Order.Meta.host = engine.url  # type: ignore[attr-defined]
    Order.create_table(wait=True)


def test_the_table_is_as_the_model_says() -> None:
    assert Order.exists()
    description = Order.describe_table()
    assert description["TableStatus"] == "ACTIVE"
    assert [index["IndexName"] for index in description["LocalSecondaryIndexes"]] == ["by-total"]
    projection = description["GlobalSecondaryIndexes"][0]["Projection"]
    assert projection == {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["total"]}


def test_a_model_is_saved_read_refreshed_and_deleted() -> None:
    order = Order(
        "ann",
        1,
        status="new",
        total=12.5,
        tags={"a", "b"},
        sizes={1, 2.5},
        notes=["first", {"nested": [1, None, True]}],
        address=Address(street="High Street", number=7),  # type: ignore[no-untyped-call]
        extra={"anything": [1, 2, {"three": None}]},
        receipt=bytes(range(256)),
        expires=timedelta(days=1),
    )
    order.save()
    found = Order.get("ann", 1, consistent_read=True)
    assert found.attribute_values.keys() == order.attribute_values.keys()
    assert (found.made_at, found.total, found.tags, found.sizes) == (MADE_AT, 12.5, {"a", "b"}, {1, 2.5})
    assert (found.address.street, found.address.number) == ("High Street", 7)
    assert (found.extra, found.receipt) == ({"anything": [1, 2, {"three": None}]}, bytes(range(256)))
    assert found.expires > datetime.now(UTC) + timedelta(hours=23)
    found.update([Order.paid.set(True), Order.tags.add({"c"}), Order.notes.set(Order.notes.append(["last"]))])
    assert found.version == 2
    order.refresh()
    assert (order.paid, order.tags, order.notes[-1]) == (True, {"a", "b", "c"}, "last")
    order.delete()
    with pytest.raises(DoesNotExist):
        Order.get("ann", 1)


def test_an_old_version_does_not_overwrite_a_newer_one() -> None:
    Order("bob", 1).save()
    mine, theirs = Order.get("bob", 1), Order.get("bob", 1)
    theirs.status = "theirs"
    theirs.save()
    mine.status = "mine"
    with pytest.raises(PutError) as refused:
        mine.save()
    assert refused.value.cause_response_code == "ConditionalCheckFailedException"
    with pytest.raises(DeleteError):
        mine.delete()
    assert Order.get("bob", 1).status == "theirs"


def test_conditions_decide() -> None:
    order = Order("cid", 1, total=10)
    order.save(condition=Order.customer.does_not_exist())
    with pytest.raises(PutError):
        Order("cid", 1).save(condition=Order.customer.does_not_exist())
    order.update([Order.total.set(Order.total - 4)], condition=(Order.total >= 4) & Order.tags.does_not_exist())
    assert order.total == 6
    with pytest.raises(DeleteError):
        order.delete(condition=Order.total.between(0, 5))
    order.delete(condition=Order.total.is_in(5, 6))


def test_queries_scans_and_indexes_with_pages() -> None:
    with Order.batch_write() as batch:
        for number in range(40):
            made_at = MADE_AT + timedelta(minutes=number)
            status = "open" if number % 2 else None
            batch.save(
                Order("dan", number, status=status, total=1000 - number, made_at=made_at, tags={f"t{number % 3}"})
            )
    numbers = [order.id for order in Order.query("dan", Order.id.between(5, 9), scan_index_forward=False)]
    assert numbers == [9, 8, 7, 6, 5]
    filtered = Order.query("dan", Order.id < 10, filter_condition=Order.tags.contains("t1") | (Order.total == 1000))
    assert [order.id for order in filtered] == [0, 1, 4, 7]
    assert Order.count("dan", Order.id >= 30) == 10
    cheapest = Order.by_total.query("dan", Order.total < 964, page_size=2)
    assert [order.id for order in cheapest] == [39, 38, 37]
    opened = Order.by_status.query("open", Order.made_at > MADE_AT + timedelta(minutes=34), page_size=1)
    assert [(order.id, order.total, order.tags is None) for order in opened] == [
        (35, 965, True),
        (37, 963, True),
        (39, 961, True),
    ]
    everything = Order.scan(Order.customer == "dan", page_size=9, attributes_to_get=["id"])
    assert sorted(order.id for order in everything) == list(range(40))
    first = Order.query("dan", limit=3)
    assert [order.id for order in first] == [0, 1, 2]
    rest = Order.query("dan", limit=2, last_evaluated_key=first.last_evaluated_key)
    assert [order.id for order in rest] == [3, 4]
    assert len(list(Order.batch_get([("dan", number) for number in range(60)]))) == 40


def test_transactions_are_all_or_nothing(engine: EngineUnderTest) -> None:
    connection = Connection(host=engine.url, region="eu-central-1")
    connection.session.set_credentials("any", "any")
    for number in (1, 2, 3):
        Order("eve", number, total=number).save()
    with TransactWrite(connection=connection, client_request_token="eve-1") as transaction:
        transaction.save(Order("eve", 4))
        transaction.update(Order.get("eve", 2), actions=[Order.total.add(10)])
        transaction.delete(Order.get("eve", 3))
        transaction.condition_check(Order, "eve", 1, condition=Order.total == 1)
    assert [(order.id, order.total) for order in Order.query("eve")] == [(1, 1), (2, 12), (4, 0)]
    with pytest.raises(TransactWriteError) as cancelled, TransactWrite(connection=connection) as transaction:
        transaction.save(Order("eve", 5))
        transaction.condition_check(Order, "eve", 1, condition=Order.total == 99)
    reasons = cancelled.value.cancellation_reasons
    # PynamoDB sends the condition checks first.
    assert [reason and reason.code for reason in reasons] == ["ConditionalCheckFailed", None]
    assert Order.count("eve") == 3
    with TransactGet(connection=connection) as reading:
        there = reading.get(Order, "eve", 1)
        missing = reading.get(Order, "eve", 5)
    assert there.get().total == 1
    with pytest.raises(DoesNotExist):
        missing.get()


def test_the_time_to_live_is_the_models_attribute(engine: EngineUnderTest) -> None:
    with pytest.raises(TableError, match="TimeToLive is already enabled"):
        Order.update_ttl(ignore_update_ttl_errors=False)
    described = engine.call("DescribeTimeToLive", {"TableName": "orders"})["TimeToLiveDescription"]
    assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
