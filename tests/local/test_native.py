"""Tables for functions: the operations of the wire, in Python values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from afterwrite import (
    App,
    Check,
    ConditionalCheckFailed,
    DeclarationError,
    Delete,
    Put,
    TransactionCanceled,
    Update,
    at_least,
    between,
    exists,
    prefix,
    suffix,
)
from afterwrite.config import Identity
from afterwrite.core.ports import Services
from afterwrite.core.table_client import TableClient
from afterwrite.errors import InvalidValue, ServiceError, StorageError
from afterwrite.local.native import NativeServices
from afterwrite.store.environment import Environment
from afterwrite.store.operations import Operations
from embedded import Dynamo

things = App("a").table("things", partition_key="pk", sort_key="sk")


@pytest.fixture
def services(environment: Environment, dynamo: Dynamo, tmp_path: Path) -> Iterator[Services]:
    dynamo.create()
    dynamo.create("single", sort_key=None)
    yield NativeServices(environment, Operations(Identity()), tmp_path / "files")


@pytest.fixture
def table(services: Services) -> TableClient:
    return services.table("things")


def key(sk: str) -> dict[str, str]:
    return {"pk": "p", "sk": sk}


def test_items_go_in_and_come_out_as_python_values(table: TableClient) -> None:
    item = {**key("1"), "n": Decimal("1.5"), "b": b"\x00", "l": [1, None, True], "s": {"a", "b"}, "m": {"x": "y"}}
    table.put(item)
    assert table.get(key("1")) == item
    assert table.get(key("2")) is None
    table.delete(key("1"))
    assert table.get(key("1")) is None


def test_values_that_dynamodb_cannot_hold_are_refused(table: TableClient) -> None:
    with pytest.raises(InvalidValue, match="float"):
        table.put({**key("1"), "n": 1.5})


def test_updates_answer_the_new_item(table: TableClient) -> None:
    new = table.update(
        key("1"), "SET #n = if_not_exists(#n, :zero) + :one", names={"#n": "n"}, values={"zero": 0, ":one": 1}
    )
    assert new == {**key("1"), "n": 1}


def test_conditions_guard_every_write(table: TableClient) -> None:
    table.put(key("1"), condition="attribute_not_exists(pk)")
    with pytest.raises(ConditionalCheckFailed):
        table.put(key("1"), condition="attribute_not_exists(pk)")
    with pytest.raises(ConditionalCheckFailed):
        table.update(key("1"), "SET a = :a", condition="a = :b", values={"a": 1, "b": 2})
    with pytest.raises(ConditionalCheckFailed):
        table.delete(key("1"), condition="#p = :q", names={"#p": "pk"}, values={"q": "other"})
    assert table.get(key("1")) == key("1")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, "a1 a2 a3 b1"),
        ({"sort_key": "a2"}, "a2"),
        ({"sort_key": prefix("a")}, "a1 a2 a3"),
        ({"sort_key": between("a2", "b1")}, "a2 a3 b1"),
        ({"newest_first": True}, "b1 a3 a2 a1"),
        ({"limit": 2}, "a1 a2"),
        ({"limit": 9}, "a1 a2 a3 b1"),
        ({"sort_key": prefix("a"), "newest_first": True, "limit": 1}, "a3"),
        ({"sort_key": prefix("x")}, ""),
    ],
)
def test_queries(table: TableClient, arguments: dict[str, Any], found: str) -> None:
    for sk in ("a1", "a2", "a3", "b1"):
        table.put(key(sk))
    table.put({"pk": "other", "sk": "a1"})
    assert " ".join(item["sk"] for item in table.query("p", **arguments)) == found


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"attributes": ["sk", "n"]}, [{"sk": "a", "n": 1}, {"sk": "b"}, {"sk": "c", "n": 3}]),
        ({"attributes": ["n", "n", "pk"], "sort_key": "a"}, [{"n": 1, "pk": "p"}]),
        ({"attributes": ["m.x", "none"], "limit": 1, "newest_first": True}, [{"m.x": "y"}]),
        ({"attributes": ["sk"], "condition": "attribute_not_exists(n)"}, [{"sk": "b"}]),
        ({"condition": "#n > :n", "names": {"#n": "n"}, "values": {"n": 1}}, [{**key("c"), "n": 3, "m.x": "y"}]),
        ({"condition": "attribute_exists(n)", "attributes": ["sk"], "limit": 1}, [{"sk": "a"}]),
        ({"condition": "attribute_not_exists(n)", "sort_key": between("b", "c"), "attributes": ["sk"]}, [{"sk": "b"}]),
    ],
)
def test_queries_for_some_attributes_of_some_items(
    table: TableClient, arguments: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    for item in ({**key("a"), "n": 1}, key("b"), {**key("c"), "n": 3, "m.x": "y"}):
        table.put(item)
    assert table.query("p", **arguments) == found


def test_a_query_reads_on_until_it_has_as_many_items_that_meet_the_condition_as_it_may(table: TableClient) -> None:
    for number in range(8):
        table.put({**key(f"{number}"), "n": number, "text": "x" * 300_000})
    odd: dict[str, Any] = {"condition": "n IN (:a, :b, :c, :d)", "values": dict(zip("abcd", (1, 3, 5, 7), strict=True))}
    assert table.query("p", attributes=["n"], **odd) == [{"n": number} for number in (1, 3, 5, 7)]
    assert table.query("p", attributes=["n"], limit=3, **odd) == [{"n": number} for number in (1, 3, 5)]


def test_a_query_for_one_attribute_wants_a_list_all_the_same(table: TableClient) -> None:
    with pytest.raises(DeclarationError, match=r"expected a list of attributes .* write \['sk'\]"):
        table.query("p", attributes="sk")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"condition": "#_pk = :x", "names": {"#_pk": "n"}, "values": {"x": 1}}, "#_pk, which begins with _"),
        ({"condition": "n = :_pk", "values": {"_pk": 1}}, ":_pk, which begins with _"),
        (
            {"condition": "attribute_exists(#_0)", "names": {"#_0": "n"}, "attributes": ["sk"]},
            "#_0, which begins with _",
        ),
        ({"names": {"#n": "n"}}, "unused in expressions: keys: {#n}"),
        ({"values": {"n": 1}}, "unused in expressions: keys: {:n}"),
        ({"condition": "pk = :x", "values": {"x": "p"}}, "non-primary key attributes"),
        ({"attributes": []}, "ProjectionExpression"),
        ({"limit": 0}, "expected a limit of at least 1, got 0"),
        ({"condition": "attribute_exists(n)", "limit": -1}, "expected a limit of at least 1, got -1"),
    ],
)
def test_mistakes_in_a_query_are_told(table: TableClient, arguments: dict[str, Any], error: str) -> None:
    for number in range(3):
        table.put({**key(f"{number}"), "n": number})
    with pytest.raises((DeclarationError, ServiceError), match=error):
        table.query("p", **arguments)


def test_a_key_in_the_place_of_a_partition_keys_value_is_told(table: TableClient) -> None:
    with pytest.raises(DeclarationError, match=r"the value of pk to query .* things by, got dict: leave out"):
        table.query({"pk": "p"})


def test_an_update_that_is_no_expression_is_told(table: TableClient) -> None:
    update: Any = {"n": 1}
    with pytest.raises(DeclarationError, match=r'an UpdateExpression as text, such as "SET n = :n", .*, got dict'):
        table.update(key("1"), update)


def test_a_query_reads_all_pages(table: TableClient) -> None:
    for number in range(8):
        table.put({**key(f"{number}"), "text": "x" * 300_000})
    assert [item["sk"] for item in table.query("p")] == [str(number) for number in range(8)]
    assert [item["sk"] for item in table.query("p", limit=5, newest_first=True)] == ["7", "6", "5", "4", "3"]


def test_a_scan_reads_all_pages(table: TableClient) -> None:
    for number in range(8):
        table.put({**key(f"{number}"), "text": "x" * 300_000})
    assert sorted(item["sk"] for item in table.scan()) == [str(number) for number in range(8)]


def test_a_table_without_a_sort_key_refuses_one(services: Services) -> None:
    single = services.table("single")
    single.put({"pk": "p", "n": 1})
    assert single.query("p") == [{"pk": "p", "n": 1}]
    with pytest.raises(DeclarationError, match="no sort key"):
        single.query("p", "x")


@pytest.mark.parametrize("matcher", [suffix("a"), exists(), at_least(1), {}, {**prefix("a"), **suffix("b")}])
def test_a_query_refuses_what_is_no_condition_on_a_sort_key(table: TableClient, matcher: Any) -> None:
    with pytest.raises(DeclarationError, match=r"expected a sort key, prefix\(…\) or between\(…, …\)"):
        table.query("p", matcher)


def test_a_table_that_is_not_there_is_named(services: Services) -> None:
    with pytest.raises(DeclarationError, match="'nowhere'"):
        services.table("nowhere")


def test_a_transaction_is_all_or_nothing(services: Services, table: TableClient) -> None:
    table.put({**key("1"), "n": 1})
    services.transact(
        [
            writes.to_wire()
            for writes in (
                Put(things, key("2")),
                Update(things, key("3"), "SET a = :a", values={"a": 1}),
                Delete(things, key("absent")),
                Check(things, key("1"), "n = :n", values={"n": 1}),
            )
        ]
    )
    assert [item["sk"] for item in table.query("p")] == ["1", "2", "3"]
    with pytest.raises(TransactionCanceled) as failure:
        services.transact(
            [Delete(things, key("1")).to_wire(), Check(things, key("2"), "attribute_not_exists(pk)").to_wire()]
        )
    assert [reason["Code"] for reason in failure.value.reasons] == ["None", "ConditionalCheckFailed"]
    assert len(table.query("p")) == 3


def test_errors_are_dynamodbs(table: TableClient) -> None:
    with pytest.raises(ServiceError, match="ValidationException"):
        table.put({"pk": "p"})


def test_directories_are_made_below_the_data_directory(services: Services, tmp_path: Path) -> None:
    path = services.directory("outbox")
    assert path == tmp_path / "files" / "outbox"
    assert path.is_dir()
    assert services.directory("outbox") == path
    for name in ("", "..", ".hidden", "a/b"):
        with pytest.raises(DeclarationError):
            services.directory(name)


def test_a_data_directory_that_was_moved_away_is_not_made_anew(services: Services, tmp_path: Path) -> None:
    """Put back, it would come to lie in the new one."""
    services.directory("outbox")
    (tmp_path / "files").rename(tmp_path / "elsewhere")
    assert services.directory("outbox").is_dir(), "files of functions may be cleared away"
    missing = NativeServices(services._environment, Operations(Identity()), tmp_path / "moved" / "files")  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="moved or deleted"):
        missing.directory("outbox")
    assert not (tmp_path / "moved").exists()


class Colour(StrEnum):
    """An enumeration whose members are texts."""

    RED = "red"


NO_JSON = [uuid4(), date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), Colour.RED, Fraction(1, 2), b"text", ("text",)]


@pytest.mark.parametrize("value", NO_JSON, ids=lambda value: type(value).__name__)
def test_in_the_wire_form_stand_jsons_own_types(services: Any, value: Any) -> None:
    """However it is written: some of the ways begin with a JSON text, in which a UUID would be one like any other."""
    wire = {"pk": {"S": "p"}, "sk": {"S": "s"}}
    update = {"TableName": "things", "Key": wire, "UpdateExpression": "SET x = :x"}
    services.execute("UpdateItem", {**update, "ExpressionAttributeValues": {":x": {"S": "known from now on"}}})
    before = services.execute("Scan", {"TableName": "things"})["Items"]
    for body in ({"S": value}, {"L": [{"S": value}]}, value):
        item = {**wire, "x": body}
        asked: list[Callable[[], object]] = [
            partial(services.execute, "PutItem", {"TableName": "things", "Item": item}),
            partial(services.execute, "UpdateItem", {**update, "ExpressionAttributeValues": {":x": body}}),
            partial(services.transact, [{"Put": {"TableName": "things", "Item": item}}]),
            partial(services.put_items, "things", [item]),
        ]
        for each in asked:
            with pytest.raises(ServiceError, match="SerializationException"):
                each()
    assert services.execute("Scan", {"TableName": "things"})["Items"] == before


HALF = "half \ud800 pair"


@pytest.mark.parametrize(
    "write",
    [
        lambda table: table.put({**key("1"), "x": HALF}),
        lambda table: table.put({**key("1"), HALF: 1}),
        lambda table: table.put(key(HALF)),
        lambda table: table.put({**key("1"), "m": {"l": [{HALF}]}}),
        lambda table: table.put_many([{**key("1"), "x": HALF}]),
        lambda table: table.get(key(HALF)),
        lambda table: table.query(HALF),
        lambda table: table.delete(key(HALF)),
        lambda table: table.update(key("1"), "SET x = :x", values={":x": HALF}),
        lambda table: table.update(key("1"), "SET #x = :x", names={"#x": HALF}, values={":x": 1}),
    ],
)
def test_half_a_surrogate_pair_is_refused_in_words(table: Any, write: Any) -> None:
    words = r"expected text of whole characters, got half of a surrogate pair, '\\ud800': replace it, or leave it out"
    with pytest.raises(InvalidValue, match=words):
        write(table)
    assert list(table.scan()) == []
