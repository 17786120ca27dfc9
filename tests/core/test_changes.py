"""Changes: images decoded when they are read, and what differs between them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from afterwrite.core import json_text
from afterwrite.core.changes import INSERT, MODIFY, REMOVE, TTL_IDENTITY, Change
from afterwrite.local.canonical_json import json_bytes


def change(event_name: str = MODIFY, **fields: Any) -> Change:
    return Change(id="c", table="things", event_name=event_name, keys={"pk": {"S": "p"}}, **fields)


def test_images_are_python_values_from_text_or_parsed() -> None:
    text = b'{"pk":{"S":"p"},"n":{"N":"1.50"},"b":{"B":"AP8="},"s":{"NS":["1","2"]}}'
    decoded = {"pk": "p", "n": Decimal("1.50"), "b": b"\x00\xff", "s": {Decimal(1), Decimal(2)}}
    assert change(new_image=text).new == decoded
    parsed = {"pk": {"S": "p"}, "n": {"N": "1.50"}, "b": {"B": "AP8="}, "s": {"NS": ["1", "2"]}}
    assert change(new_image=parsed).new == decoded
    assert change(new_image=text).new_image == parsed
    assert change().keys == {"pk": "p"}


def test_one_attribute_is_read_without_the_others() -> None:
    old, new = b'{"n":{"N":"1.50"},"x":{"?":0}}', b'{"n":{"N":"2"},"b":{"B":"AP8="},"x":{"?":0}}'
    each = change(old_image=old, new_image=new)
    assert (each.before("n"), each.after("n")) == (Decimal("1.50"), Decimal(2))
    assert (each.before("b"), each.after("b")) == (None, b"\x00\xff")
    assert (change(new_image=b"{}").before("n"), change(old_image=b"{}").after("n")) == (None, None)


def test_one_attribute_is_the_same_before_and_after_all_were_read() -> None:
    each = change(old_image={"s": {"NS": ["1", "2"]}}, new_image={"s": {"NULL": True}})
    apart = (each.before("s"), each.after("s"))
    assert (each.old, each.new) == ({"s": apart[0]}, {"s": apart[1]})
    assert (each.before("s"), each.after("s")) == apart == ({Decimal(1), Decimal(2)}, None)


def test_an_image_that_nobody_reads_is_not_decoded() -> None:
    unread = change(new_image=b"this is no JSON", old_image=b"{}")
    assert unread.old == {}
    assert unread.keys == {"pk": "p"}


def test_an_image_is_written_into_records_as_the_text_it_is() -> None:
    text = b'{"b":{"S":"\\u0041"},"a":{"N":"1"}}'
    each = change(new_image=text, old_image=text)
    for _ in range(2):
        entry = {"before": each.old_json, "after": each.new_json}
        assert json_text.dumps(entry) == b'{"before":' + text + b',"after":' + text + b"}"
        assert entry == {"before": each.old_image, "after": each.new_image}  # parsed from now on
        assert entry != {"before": each.old_image, "after": {"a": {"N": "1"}}}
    assert json_bytes(each.new_json) == b'{"a":{"N":"1"},"b":{"S":"A"}}'


def test_an_image_that_came_parsed_or_not_at_all_is_written_as_it_is() -> None:
    parsed = change(new_image={"a": {"S": "x"}})
    assert json_text.dumps([parsed.old_json, parsed.new_json]) == b'[null,{"a":{"S":"x"}}]'


def test_an_image_is_decoded_once() -> None:
    each = change(new_image=b'{"a":{"S":"x"}}')
    assert each.new is each.new


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({"a": {"N": "1"}}, {"a": {"N": "2"}}, True),
        ({"a": {"N": "1"}}, {"a": {"N": "1.0"}}, False),
        ({"a": {"S": "1"}}, {"a": {"N": "1"}}, True),
        ({"a": {"BOOL": True}}, {"a": {"N": "1"}}, True),
        ({"a": {"NULL": True}}, {}, True),
        ({}, {"a": {"NULL": True}}, True),
        ({}, {}, False),
        (None, {"a": {"S": "x"}}, True),
        ({"a": {"S": "x"}}, None, True),
        (None, {"b": {"S": "x"}}, False),
        ({"a": {"SS": ["x", "y"]}}, {"a": {"SS": ["y", "x"]}}, False),
        ({"a": {"M": {"b": {"N": "1"}}}}, {"a": {"M": {"b": {"N": "2"}}}}, True),
    ],
)
def test_changed_compares_values_and_presence(old: Any, new: Any, changed: bool) -> None:
    assert change(old_image=old, new_image=new).changed("a") is changed


def test_only_the_service_deletes_by_ttl_s25() -> None:
    assert change(REMOVE, user_identity=TTL_IDENTITY).by_ttl
    assert not change(REMOVE).by_ttl
    assert not change(REMOVE, user_identity={"type": "Service", "principalId": "somebody.else"}).by_ttl


def test_times_are_in_microseconds_and_floored_to_milliseconds() -> None:
    assert change(INSERT, created_at_us=1_234_567_999).created_at_ms == 1_234_567


def test_a_version_is_the_sequence_number_or_rises_with_the_time_s26() -> None:
    def made(id: str, **fields: Any) -> Change:
        return Change(id=id, table="t", event_name="INSERT", keys=b"{}", **fields)

    assert made("a", sequence_number="100000000000000000007", created_at_us=5).version == "100000000000000000007"
    padded = [made("a", sequence_number=f"{number:021}").version for number in (0, 9, 10)]
    assert padded == ["0", "9", "10"], "as DynamoDB Local writes them"
    versions = [int(made(id, created_at_us=at_us).version) for at_us, id in ((5, "z"), (6, "a"), (1_760_000_000, "b"))]
    assert versions == sorted(versions)
    assert made("a", created_at_us=5).version != made("b", created_at_us=5).version
