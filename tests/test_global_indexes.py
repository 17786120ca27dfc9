"""Global secondary indexes that an app declares: made, filled, queried, and deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint

from afterwrite import App, DeclarationError, GlobalIndex, Key, between, open_engine, prefix
from afterwrite.app import keys
from afterwrite.remote.tables import RemoteServices
from afterwrite.synth import cloudformation, terraform
from afterwrite.synth.template import synth
from afterwrite.table import index_requests
from synth.documents import parsed

BY_STATUS = GlobalIndex("by-status", partition_key="status", sort_key=Key("placed", "N"))
BY_DAY = GlobalIndex("by-day", partition_key="day", projection=["status"])


def shop(*indexes: GlobalIndex) -> App:
    app = App("shop")
    app.table("orders", partition_key="customer", sort_key="id", indexes=indexes)
    return app


def order(number: int) -> dict[str, Any]:
    status = "paid" if number % 2 else "new"
    return {"customer": "ann", "id": f"{number}", "status": status, "placed": number, "day": f"day-{number % 3}"}


def test_a_query_by_a_declared_index(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop(BY_STATUS, BY_DAY)) as engine:
        orders = engine.table("orders")
        orders.put_many(map(order, range(6)))
        assert [each["placed"] for each in orders.query("paid", index=BY_STATUS)] == [1, 3, 5]
        assert [each["placed"] for each in orders.query("paid", between(2, 9), index="by-status", limit=1)] == [3]
        newest = orders.query("new", index=BY_STATUS, newest_first=True, attributes=["id"])
        assert newest == [{"id": "4"}, {"id": "2"}, {"id": "0"}]
        by_day = orders.query("day-2", index=BY_DAY)
        assert sorted(each["id"] for each in by_day) == ["2", "5"]
        assert by_day[0].keys() == {"customer", "id", "day", "status"}
        with pytest.raises(DeclarationError, match="the index by-day of orders has no sort key"):
            orders.query("day-1", prefix("d"), index=BY_DAY)
        with pytest.raises(DeclarationError, match=r"an index of .* orders \(by-status, by-day\), got 'by-week'"):
            orders.query("w", index="by-week")


def test_an_index_that_is_declared_later_has_all_items_when_the_engine_has_started(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop()) as engine:
        engine.table("orders").put_many(map(order, range(1_200)))
        with pytest.raises(DeclarationError, match=r"of the table orders \(it has none\), got 'by-status'"):
            engine.table("orders").query("paid", index=BY_STATUS)
    for _ in range(2):
        with open_engine(tmp_path / "data", shop(BY_STATUS, BY_DAY)) as engine:
            assert len(engine.table("orders").query("paid", index=BY_STATUS)) == 600
            assert len(engine.table("orders").query("day-0", index=BY_DAY)) == 400


def test_an_index_that_is_not_declared_any_more_stays(tmp_path: Path) -> None:
    for indexes in ([BY_STATUS], []):
        with open_engine(tmp_path / "data", shop(*indexes)) as engine:
            engine.table("orders").put(order(1))
            assert len(engine.table("orders").query("paid", index=BY_STATUS)) == 1


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (
            GlobalIndex("by-status", partition_key="status"),
            r"holds the index by-status of the table orders as global on status \(S\), placed \(N\) with ALL, the app "
            r"declares global on status \(S\) with ALL: declare what is there",
        ),
        (
            GlobalIndex("by-place", partition_key="placed"),
            "expected placed of the table orders to be of the type N, as in the index by-status .*, got S in the index",
        ),
    ],
)
def test_an_index_that_is_there_otherwise_is_refused(tmp_path: Path, other: GlobalIndex, error: str) -> None:
    with open_engine(tmp_path / "data", shop(BY_STATUS)):
        pass
    with pytest.raises(DeclarationError, match=error), open_engine(tmp_path / "data", shop(other)):
        pass


def test_an_index_that_a_client_made_is_the_declared_one_in_any_order_of_what_it_includes(tmp_path: Path) -> None:
    made = GlobalIndex("by-day", partition_key="day", projection=["status", "placed"])
    with open_engine(tmp_path / "data", shop(made)) as engine:
        engine.table("orders").put(order(1))
    same = GlobalIndex("by-day", partition_key="day", projection=["placed", "status"])
    with open_engine(tmp_path / "data", shop(same)) as engine:
        assert len(engine.table("orders").query("day-1", index=same)) == 1


def test_more_indexes_than_a_table_can_have_are_refused_at_the_start(tmp_path: Path) -> None:
    many = [GlobalIndex(f"by-{number}", partition_key="day") for number in range(20)]
    with open_engine(tmp_path / "data", shop(*many)):
        pass
    with (
        pytest.raises(
            DeclarationError, match=r"at most 20 .* of the table orders, got by-status beside 20 that .* delete one"
        ),
        open_engine(tmp_path / "data", shop(BY_STATUS)),
    ):
        pass


def test_an_index_called_like_a_vector_index_that_is_there_is_refused(tmp_path: Path) -> None:
    vectors: Any = {
        "IndexName": "by-status",
        "VectorAttribute": {"AttributeName": "status"},
        "Dimensions": 2,
        "DistanceFunction": "COSINE",
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    with open_engine(tmp_path / "data") as engine:
        engine.boto3_session().client("dynamodb").create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "customer", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("customer", "id")],
            BillingMode="PAY_PER_REQUEST",
            VectorIndexes=[vectors],
        )
    with (
        pytest.raises(DeclarationError, match=r"holds a vector index by-status of the table orders, .* another name"),
        open_engine(tmp_path / "data", shop(BY_STATUS)),
    ):
        pass


def test_a_declaration_has_the_limits_of_a_request() -> None:
    declared = (keys.GLOBAL_INDEXES_MAX, keys.INCLUDED_OF_INDEX_MAX, keys.INCLUDED_ATTRIBUTES_MAX)
    limits = index_requests
    assert declared == (limits.GLOBAL_INDEXES_MAX, limits.INCLUDED_OF_INDEX_MAX, limits.INCLUDED_ATTRIBUTES_MAX)


def test_functions_on_lambda_query_by_the_index(tmp_path: Path) -> None:
    app = shop(BY_STATUS)
    with open_engine(tmp_path / "data", app) as engine:
        engine.table("orders").put_many(map(order, range(4)))
        client = engine.boto3_session().client("dynamodb")
        table = RemoteServices(lambda: client, app.tables, {}, tmp_path).table("orders")
        assert [each["id"] for each in table.query("paid", index=BY_STATUS)] == ["1", "3"]


def test_a_template_has_the_indexes_and_lets_functions_query_them() -> None:
    app = shop(BY_STATUS, BY_DAY)
    app.table("plain", partition_key="id")
    app.function()(tell)
    template = synth(app)
    assert lint(cloudformation.render(template)) == []
    resources = parsed(template)["Resources"]
    table = resources["OrdersTable"]["Properties"]
    assert [each["AttributeName"] for each in table["AttributeDefinitions"]] == [
        "customer",
        "id",
        "status",
        "placed",
        "day",
    ]
    by_status, by_day = table["GlobalSecondaryIndexes"]
    assert by_status == {
        "IndexName": "by-status",
        "KeySchema": [
            {"AttributeName": "status", "KeyType": "HASH"},
            {"AttributeName": "placed", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
    assert by_day["Projection"] == {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["status"]}
    assert "GlobalSecondaryIndexes" not in resources["PlainTable"]["Properties"]
    statements = resources["TellFunctionRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    (used,) = (each["Resource"] for each in statements if each["Sid"] == "UseTables")
    assert [each for each in used if "index" in str(each)] == [{"Fn::Sub": "${OrdersTable.Arn}/index/*"}]
    table = json.loads(terraform.render(template))["resource"]["awscc_dynamodb_table"]["orders_table"]
    assert table["global_secondary_indexes"][1]["projection"] == {
        "projection_type": "INCLUDE",
        "non_key_attributes": ["status"],
    }


def tell(request: Any, context: Any) -> None: ...
