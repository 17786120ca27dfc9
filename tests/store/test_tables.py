"""Items and their changes: one transaction, nothing for what changes nothing, and a log that is the table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterwrite.core.changes import INSERT, MODIFY, REMOVE, TTL_IDENTITY, VIEW_TYPES
from afterwrite.errors import ConditionalCheckFailed, ServiceError, TransactionCanceled
from afterwrite.store import change_log, items, streams, tables, upkeep
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.table import attribute_values
from embedded import START_MS, Clock, Dynamo, open_store

YEAR_S = 365 * 86_400


def test_a_write_and_its_change_are_one(dynamo: Dynamo) -> None:
    dynamo.create()
    dynamo.put(pk="p", sk="1", n=1)
    dynamo.put(pk="p", sk="1", n=2)
    dynamo.delete(pk="p", sk="1")
    insert, modify, remove = dynamo.changes()
    assert [insert.event_name, modify.event_name, remove.event_name] == [INSERT, MODIFY, REMOVE]
    assert (insert.old, insert.new) == (None, {"pk": "p", "sk": "1", "n": 1})
    assert (modify.old, modify.new) == ({"pk": "p", "sk": "1", "n": 1}, {"pk": "p", "sk": "1", "n": 2})
    assert (remove.old, remove.new) == ({"pk": "p", "sk": "1", "n": 2}, None)
    assert [change.keys for change in (insert, modify, remove)] == [{"pk": "p", "sk": "1"}] * 3
    assert insert.created_at_ms == START_MS
    assert insert.user_identity is None


@pytest.mark.parametrize(
    "write",
    [
        {"op": "PutItem", "Item": {"pk": {"S": "p"}, "sk": {"S": "1"}, "n": {"N": "1.0"}, "s": {"SS": ["b", "a"]}}},
        {"op": "PutItem", "Item": {"s": {"SS": ["a", "b"]}, "n": {"N": "1"}, "sk": {"S": "1"}, "pk": {"S": "p"}}},
        {
            "op": "UpdateItem",
            "Key": {"pk": {"S": "p"}, "sk": {"S": "1"}},
            "UpdateExpression": "SET n = :n REMOVE nothing",
            "ExpressionAttributeValues": {":n": {"N": "1"}},
        },
        {"op": "UpdateItem", "Key": {"pk": {"S": "p"}, "sk": {"S": "1"}}},
        {"op": "DeleteItem", "Key": {"pk": {"S": "p"}, "sk": {"S": "absent"}}},
        {
            "op": "TransactWriteItems",
            "TransactItems": [
                {
                    "ConditionCheck": {
                        "TableName": "things",
                        "Key": {"pk": {"S": "p"}, "sk": {"S": "1"}},
                        "ConditionExpression": "attribute_exists(pk)",
                    }
                }
            ],
        },
    ],
    ids=["same", "same-in-another-order", "set-to-what-it-is", "update-of-nothing", "delete-of-nothing", "check"],
)
def test_a_write_that_changes_nothing_emits_nothing_s18(dynamo: Dynamo, write: dict[str, Any]) -> None:
    dynamo.create()
    dynamo(
        "PutItem",
        TableName="things",
        Item={"pk": {"S": "p"}, "sk": {"S": "1"}, "n": {"N": "1"}, "s": {"SS": ["a", "b"]}},
    )
    before = dynamo.items()
    operation = write["op"]
    body = {name: value for name, value in write.items() if name != "op"}
    dynamo(operation, **(body if operation == "TransactWriteItems" else {"TableName": "things", **body}))
    assert len(dynamo.changes()) == 1
    assert dynamo.items() == before


def test_an_update_of_an_item_that_was_stored_when_sizes_were_counted_by_another_rule(
    dynamo: Dynamo, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = dynamo.create(sort_key=None)
    numbers = {f"n{number}": {"N": "1234567"} for number in range(100)}
    with monkeypatch.context() as earlier:
        earlier.setattr(attribute_values, "number_size", lambda _text: 1)
        dynamo("PutItem", TableName="things", Item={"pk": {"S": "a"}, **numbers})
    removal = f"REMOVE {', '.join(numbers)}"
    dynamo("UpdateItem", TableName="things", Key={"pk": {"S": "a"}}, UpdateExpression=removal)
    with dynamo.environment.read() as transaction:
        assert items.statistics(transaction, table) == (1, len("pk" + "a"))


def test_an_update_of_what_is_absent_inserts_its_key(dynamo: Dynamo) -> None:
    dynamo.create()
    dynamo("UpdateItem", TableName="things", Key={"pk": {"S": "p"}, "sk": {"S": "1"}})
    (change,) = dynamo.changes()
    assert (change.event_name, change.new) == (INSERT, {"pk": "p", "sk": "1"})


@pytest.mark.parametrize("view_type", VIEW_TYPES)
def test_the_view_type_says_which_images_a_change_carries(dynamo: Dynamo, view_type: str) -> None:
    dynamo.create(view_type=view_type)
    dynamo.put(pk="p", sk="1", n=1)
    dynamo.put(pk="p", sk="1", n=2)
    dynamo.delete(pk="p", sk="1")
    with_new, with_old = (
        view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"),
        view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"),
    )
    insert, modify, remove = dynamo.changes()
    assert [change.view_type for change in (insert, modify, remove)] == [view_type] * 3
    assert [change.keys for change in (insert, modify, remove)] == [{"pk": "p", "sk": "1"}] * 3
    assert [change.new is not None for change in (insert, modify, remove)] == [with_new, with_new, False]
    assert [change.old is not None for change in (insert, modify, remove)] == [False, with_old, with_old]


def test_a_table_without_a_stream_keeps_items_and_no_changes(dynamo: Dynamo, environment: Environment) -> None:
    dynamo.create("plain", view_type=None)
    dynamo.put("plain", pk="p", sk="1")
    assert len(dynamo.items("plain")) == 1
    with environment.read() as transaction:
        assert list(transaction.scan("changes", b"")) == []


def test_a_failed_condition_leaves_no_trace(dynamo: Dynamo) -> None:
    dynamo.create()
    dynamo.put(pk="p", sk="1", n=1)
    with pytest.raises(ConditionalCheckFailed):
        dynamo(
            "PutItem",
            TableName="things",
            Item={"pk": {"S": "p"}, "sk": {"S": "1"}, "n": {"N": "2"}},
            ConditionExpression="attribute_not_exists(pk)",
        )
    assert len(dynamo.changes()) == 1
    assert dynamo.items()[0]["n"] == {"N": "1"}


def transact(dynamo: Dynamo, *members: tuple[str, dict[str, Any]], **fields: Any) -> None:
    dynamo(
        "TransactWriteItems",
        TransactItems=[{kind: {"TableName": "things", **member}} for kind, member in members],
        **fields,
    )


def member(kind: str, sk: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    if kind == "Put":
        attributes: dict[str, Any] = fields.pop("attributes", {})
        return kind, {"Item": {"pk": {"S": "p"}, "sk": {"S": sk}, **attributes}, **fields}
    return kind, {"Key": {"pk": {"S": "p"}, "sk": {"S": sk}}, **fields}


def test_a_transaction_happens_whole_and_in_order(dynamo: Dynamo) -> None:
    dynamo.create()
    dynamo.put(pk="p", sk="old")
    transact(
        dynamo,
        member("Put", "1"),
        member("Delete", "old"),
        member("Update", "2", UpdateExpression="SET a = :a", ExpressionAttributeValues={":a": {"S": "x"}}),
        member("ConditionCheck", "3", ConditionExpression="attribute_not_exists(pk)"),
    )
    assert [(change.event_name, change.keys["sk"]) for change in dynamo.changes()] == [
        (INSERT, "old"),
        (INSERT, "1"),
        (REMOVE, "old"),
        (INSERT, "2"),
    ]


def test_a_transaction_that_fails_leaves_no_trace_and_says_why(dynamo: Dynamo, environment: Environment) -> None:
    dynamo.create()
    dynamo.put(pk="p", sk="there", n=1)
    with pytest.raises(TransactionCanceled) as failure:
        transact(
            dynamo,
            member("Put", "1"),
            member("Put", "there", ConditionExpression="attribute_not_exists(pk)"),
            member(
                "Update",
                "there2",
                UpdateExpression="SET a = nothing + :a",
                ExpressionAttributeValues={":a": {"N": "1"}},
            ),
        )
    assert [reason["Code"] for reason in failure.value.reasons] == ["None", "ConditionalCheckFailed", "ValidationError"]
    assert [item["sk"] for item in dynamo.items()] == [{"S": "there"}]
    assert len(dynamo.changes()) == 1


def test_a_client_token_makes_a_transaction_happen_once(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    add = member("Update", "n", UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}})
    transact(dynamo, add, ClientRequestToken="t1")
    transact(dynamo, add, ClientRequestToken="t1")
    assert dynamo.items()[0]["n"] == {"N": "1"}
    with pytest.raises(ServiceError, match="IdempotentParameterMismatch"):
        transact(dynamo, member("Put", "other"), ClientRequestToken="t1")
    transact(dynamo, add, ClientRequestToken="t2")
    # The token is kept for ten minutes.
    clock.advance(s=601)
    upkeep.run(dynamo.environment, {})
    transact(dynamo, add, ClientRequestToken="t1")
    assert dynamo.items()[0]["n"] == {"N": "3"}


def test_a_failed_transaction_does_not_use_up_its_token(dynamo: Dynamo) -> None:
    dynamo.create()
    only_new = member("Put", "1", ConditionExpression="attribute_not_exists(pk)")
    dynamo.put(pk="p", sk="1")
    with pytest.raises(TransactionCanceled):
        transact(dynamo, only_new, ClientRequestToken="t")
    dynamo.delete(pk="p", sk="1")
    transact(dynamo, only_new, ClientRequestToken="t")
    assert len(dynamo.items()) == 1


def enable_ttl(dynamo: Dynamo, enabled: bool = True) -> None:
    specification = {"AttributeName": "ttl", "Enabled": enabled}
    dynamo("UpdateTimeToLive", TableName="things", TimeToLiveSpecification=specification)


def test_an_expired_item_is_removed_by_the_service_s25(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    enable_ttl(dynamo)
    now_s = clock.now_ms // 1000
    dynamo.put(pk="p", sk="soon", ttl=now_s + 10)
    dynamo.put(pk="p", sk="later", ttl=now_s + 100)
    dynamo.put(pk="p", sk="never")
    dynamo.put(pk="p", sk="text", ttl="1")
    dynamo.put(pk="p", sk="long-ago", ttl=now_s - 5 * YEAR_S - 1)
    assert upkeep.run(dynamo.environment, {}).expired == 0
    clock.advance(s=10)
    assert upkeep.run(dynamo.environment, {}).expired == 1
    change = dynamo.changes()[-1]
    assert (change.event_name, change.old and change.old["sk"], change.new) == (REMOVE, "soon", None)
    assert change.user_identity == TTL_IDENTITY == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert change.by_ttl
    assert [item["sk"]["S"] for item in dynamo.items()] == ["later", "long-ago", "never", "text"]
    assert upkeep.run(dynamo.environment, {}).expired == 0


def test_expiry_follows_the_item(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    enable_ttl(dynamo)
    now_s = clock.now_ms // 1000
    for sk in ("moved", "cleared", "deleted", "back"):
        dynamo.put(pk="p", sk=sk, ttl=now_s + 10)
    dynamo.put(pk="p", sk="moved", ttl=now_s + 50)
    dynamo.put(pk="p", sk="cleared")
    dynamo.delete(pk="p", sk="deleted")
    dynamo.delete(pk="p", sk="back")
    dynamo.put(pk="p", sk="back", ttl=now_s + 11)
    clock.advance(s=10)
    assert upkeep.run(dynamo.environment, {}).expired == 0
    clock.advance(s=1)
    assert upkeep.run(dynamo.environment, {}).expired == 1
    clock.advance(s=39)
    assert upkeep.run(dynamo.environment, {}).expired == 1
    assert [item["sk"]["S"] for item in dynamo.items()] == ["cleared"]


def test_enabling_ttl_takes_in_what_is_there_and_disabling_lets_it_live(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    now_s = clock.now_ms // 1000
    for number in range(5):
        dynamo.put(pk="p", sk=str(number), ttl=now_s + 1)
    enable_ttl(dynamo)
    enable_ttl(dynamo, False)
    clock.advance(s=2)
    assert upkeep.run(dynamo.environment, {}).expired == 0
    enable_ttl(dynamo)
    assert upkeep.run(dynamo.environment, {}).expired == 5
    assert dynamo.items() == []


def test_many_expired_items_are_taken_in_bounded_rounds(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    enable_ttl(dynamo)
    ttl = {"N": str(clock.now_ms // 1000)}
    for start in range(0, 450, 25):
        requests = [
            {"PutRequest": {"Item": {"pk": {"S": "p"}, "sk": {"S": f"{number:04}"}, "ttl": ttl}}}
            for number in range(start, start + 25)
        ]
        dynamo("BatchWriteItem", RequestItems={"things": requests})
    rounds = []
    while True:
        done = upkeep.run(dynamo.environment, {})
        rounds.append(done.expired)
        if not done.more:
            break
    assert sum(rounds) == 450
    assert len(rounds) >= 3
    assert dynamo.items() == []
    assert sum(change.by_ttl for change in dynamo.changes()) == 450


def test_statistics_follow_every_write(dynamo: Dynamo) -> None:
    dynamo.create()

    def described() -> tuple[int, int]:
        table = dynamo("DescribeTable", TableName="things")["Table"]
        return table["ItemCount"], table["TableSizeBytes"]

    assert described() == (0, 0)
    dynamo.put(pk="p", sk="1", a="x" * 100)
    dynamo.put(pk="p", sk="2")
    assert described() == (2, (2 + 1 + 2 + 1 + 1 + 100) + (2 + 1 + 2 + 1))
    dynamo.put(pk="p", sk="1")
    dynamo.delete(pk="p", sk="2")
    assert described() == (1, 2 + 1 + 2 + 1)
    dynamo.delete(pk="p", sk="1")
    assert described() == (0, 0)


def test_a_table_made_again_under_its_name_is_another_stream_s18(dynamo: Dynamo) -> None:
    def again(transaction: WriteTransaction) -> tuple[tables.Table, tables.Table]:
        first = tables.create_table(transaction, "things", schema, view_type="KEYS_ONLY")
        tables.delete_table(transaction, "things")
        return first, tables.create_table(transaction, "things", schema, view_type="KEYS_ONLY")

    schema = dynamo.create("other").schema
    first, second = dynamo.environment.write(again)
    assert first.stream and second.stream
    assert first.stream.number != second.stream.number
    assert first.number != second.number


def test_a_deleted_tables_changes_stay_until_they_are_trimmed_s18(dynamo: Dynamo, clock: Clock) -> None:
    stream = dynamo.create().stream
    assert stream is not None
    dynamo.put(pk="p", sk="1")
    dynamo("DeleteTable", TableName="things")

    def kept() -> int:
        with dynamo.environment.read() as transaction:
            return change_log.count_after(transaction, stream, 0)

    upkeep.run(dynamo.environment, {})
    assert kept() == 1
    clock.advance(s=86_401)
    assert upkeep.run(dynamo.environment, {}).trimmed == 1
    assert kept() == 0
    with dynamo.environment.read() as transaction:
        assert list(streams.listed(transaction)) == []


def test_deleting_a_table_takes_its_items_and_no_others(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create("first")
    dynamo.create("second")
    enable = {"AttributeName": "ttl", "Enabled": True}
    dynamo("UpdateTimeToLive", TableName="first", TimeToLiveSpecification=enable)
    for name in ("first", "second"):
        dynamo.put(name, pk="p", sk="1", ttl=clock.now_ms // 1000)
    dynamo("DeleteTable", TableName="first")
    assert dynamo("ListTables")["TableNames"] == ["second"]
    dynamo.create("first")
    assert dynamo.items("first") == []
    assert len(dynamo.items("second")) == 1
    clock.advance(s=5)
    assert upkeep.run(dynamo.environment, {}).expired == 0


def test_the_catalog_is_read_back_as_it_was(tmp_path: Path, clock: Clock) -> None:
    environment = open_store(tmp_path / "s", clock)
    dynamo = Dynamo(environment)
    dynamo.create()
    dynamo.create("plain", sort_key=None, view_type=None)
    enable_ttl(dynamo)
    environment.write(lambda transaction: tables.set_retention(transaction, "things", 7200))
    before = dict(environment.state["catalog"])
    environment.close()
    again = open_store(tmp_path / "s", clock)
    assert again.state["catalog"] == before
    again.close()


KEYS = st.sampled_from(["1", "2", "3"])
VALUES = st.dictionaries(
    st.sampled_from(["a", "b", "ttl"]), st.integers(START_MS // 1000, START_MS // 1000 + 3), max_size=2
)
WRITES = st.one_of(
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("update"), KEYS, st.integers(0, 2)),
    st.tuples(st.just("transact"), st.lists(KEYS, min_size=1, max_size=3, unique=True), st.booleans()),
    st.tuples(st.just("expire"), st.integers(0, 2)),
)


def apply_write(dynamo: Dynamo, clock: Clock, write: Any) -> None:
    match write:
        case ("put", sk, values):
            dynamo.put(pk="p", sk=sk, **values)
        case ("delete", sk):
            dynamo.delete(pk="p", sk=sk)
        case ("update", sk, number):
            transact(
                dynamo,
                member(
                    "Update",
                    sk,
                    UpdateExpression="SET a = :n REMOVE b",
                    ExpressionAttributeValues={":n": {"N": str(number)}},
                ),
            )
        case ("transact", sks, fails):
            members = [member("Put", sk, attributes={"b": {"N": "9"}}) for sk in sks]
            if fails:
                members.append(member("ConditionCheck", "absent", ConditionExpression="attribute_exists(pk)"))
                with pytest.raises(TransactionCanceled):
                    transact(dynamo, *members)
            else:
                transact(dynamo, *members)
        case ("expire", seconds):
            clock.advance(s=seconds)
            upkeep.run(dynamo.environment, {})


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(WRITES, max_size=25))
def test_replaying_the_log_from_empty_gives_exactly_the_table(writes: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        clock = Clock()
        environment = open_store(Path(directory) / "s", clock)
        dynamo = Dynamo(environment)
        dynamo.create()
        enable_ttl(dynamo)
        for write in writes:
            apply_write(dynamo, clock, write)
        replayed: dict[str, Any] = {}
        for change in dynamo.changes():
            sk = change.keys["sk"]
            assert change.old_image == replayed.get(sk)
            assert change.old_image != change.new_image
            assert (change.event_name == INSERT) == (sk not in replayed)
            if change.new_image is None:
                del replayed[sk]
            else:
                replayed[sk] = change.new_image
        assert [replayed[sk] for sk in sorted(replayed)] == dynamo.items()
        environment.close()


def test_a_transactions_member_without_an_expression_may_have_names_and_values(dynamo: Dynamo) -> None:
    dynamo.create()
    unread = {"ExpressionAttributeNames": {"#n": "n"}, "ExpressionAttributeValues": {":v": {"N": "1"}}}
    item = {"pk": {"S": "p"}, "sk": {"S": "s"}}
    dynamo("TransactWriteItems", TransactItems=[{"Put": {"TableName": "things", "Item": item, **unread}}])
    get = {"TableName": "things", "Key": item, "ExpressionAttributeNames": {"#n": "n"}}
    assert dynamo("TransactGetItems", TransactItems=[{"Get": get}])["Responses"] == [{"Item": item}]
    dynamo("TransactWriteItems", TransactItems=[{"Delete": {"TableName": "things", "Key": item, **unread}}])
    assert dynamo.items() == []
    unused = {**unread, "ConditionExpression": "attribute_exists(pk)"}
    with pytest.raises(ServiceError, match="unused in expressions"):
        dynamo("TransactWriteItems", TransactItems=[{"Delete": {"TableName": "things", "Key": item, **unused}}])
