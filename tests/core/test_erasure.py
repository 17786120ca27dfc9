"""Who is meant: by lane, by id, by key, by name."""

from __future__ import annotations

import json

import pytest

from afterwrite.core.erasure import Subject
from afterwrite.core.lanes import Order

KEYS = {"users": {"PK": {"S": "a"}}, "counts": {"id": {"N": "42"}}}


@pytest.mark.parametrize(
    ("order", "lane", "own"),
    [
        ("partition_key", "users/a", True),
        ("partition_key", "users/a/b", False),
        ("partition_key", "users/ab", False),
        ("partition_key", "others/a", False),
        ("partition_key", "counts/42", True),
        ("partition_key", "counts/420", False),
        ("item", "users/a/b", True),
        ("none", "users/a/100000000000000000001", True),
        ("item", "users/ab/b", False),
    ],
)
def test_a_lane_is_the_subjects_by_its_tables_order(order: Order, lane: str, own: bool) -> None:
    assert Subject(KEYS, {"users": order}).has_lane(lane) is own


def test_an_effect_is_the_subjects_by_the_change_it_followed_from() -> None:
    subject = Subject(KEYS).with_changes(["c1"])
    assert subject.has_id("c1/route/0")
    assert not subject.has_id("c11/route/0")


def test_an_item_is_the_subjects_by_its_own_tables_key() -> None:
    subject = Subject(KEYS)
    assert subject.has_keys("users", {"PK": {"S": "a"}, "SK": {"S": "x"}})
    assert not subject.has_keys("users", {"id": {"N": "42"}})
    assert not subject.has_keys("others", {"PK": {"S": "a"}})
    assert subject.has_keys(None, {"id": {"N": "42"}}), "of a stream whose table is not known"


@pytest.mark.parametrize("name", ["SESSION#7", 'quoted "7"', "Zoë", "back\\slash"])
def test_a_name_counts_as_a_whole_value_however_it_is_written(name: str) -> None:
    subject = Subject(KEYS, names=[name])
    compact = json.dumps({"who": name}, separators=(",", ":"))
    for text in (compact, json.dumps({"who": name}, ensure_ascii=False), json.dumps({"body": compact})):
        assert subject.is_named_in(text.encode()), text
    assert not subject.is_named_in(json.dumps({"who": f"{name}1"}).encode())
    assert not subject.is_named_in(json.dumps({"who": f"the {name}"}).encode())
