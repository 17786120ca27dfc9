"""Routes' guards as FilterCriteria patterns: what AWS can filter, and what it cannot (S17)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from afterwrite import (
    INSERT,
    MODIFY,
    REMOVE,
    absent,
    anything_but,
    at_least,
    between,
    exists,
    less_than,
    prefix,
    suffix,
)
from afterwrite.core.changes import EVENT_NAMES, Change
from afterwrite.core.effects import Enqueue
from afterwrite.core.filter_criteria import FilterPattern, NotFilterable, filter_criteria
from afterwrite.core.patterns import LAMBDA, compile
from afterwrite.core.routes import Guard, Route, Router
from afterwrite.core.values import encode_item
from afterwrite.core.wire import to_streams_record

_KEYS = {"PK": "S", "SK": "N"}


def _at(image: str, attribute: str, fields: Any) -> dict[str, Any]:
    return {"dynamodb": {image: {attribute: fields}}}


_EXACT: list[tuple[Guard, dict[str, Any] | None]] = [
    (Guard(), None),
    (Guard(frozenset((INSERT,))), {"eventName": ["INSERT"]}),
    (
        Guard(frozenset((REMOVE, INSERT)), keys={"PK": prefix("SESSION#")}),
        {"eventName": ["INSERT", "REMOVE"], **_at("Keys", "PK", {"S": [{"prefix": "SESSION#"}]})},
    ),
    (Guard(keys={"SK": 7}), _at("Keys", "SK", {"N": ["7"]})),
    (Guard(keys={"SK": [Decimal("7.50"), 8.0]}), _at("Keys", "SK", {"N": ["7.5", "8"]})),
    (Guard(keys={"PK": exists()}), _at("Keys", "PK", {"S": [{"exists": True}]})),
    (
        Guard(new={"status": ["open", suffix("ed")]}),
        _at(
            "NewImage",
            "status",
            {
                "$or": [
                    {"S": ["open", {"suffix": "ed"}]},
                    {"SS": ["open", {"suffix": "ed"}]},
                    {"L": {"S": ["open", {"suffix": "ed"}]}},
                ]
            },
        ),
    ),
    (Guard(old={"paid": True}), _at("OldImage", "paid", {"$or": [{"BOOL": [True]}, {"L": {"BOOL": [True]}}]})),
    (Guard(old={"paid": None}), _at("OldImage", "paid", {"$or": [{"NULL": [True]}, {"L": {"NULL": [True]}}]})),
]


@pytest.mark.parametrize(("guard", "pattern"), _EXACT, ids=range(len(_EXACT)))
def test_what_aws_can_filter(guard: Guard, pattern: dict[str, Any] | None) -> None:
    assert filter_criteria(guard, _KEYS) == FilterPattern(pattern)


_NOT: list[tuple[Guard, str, dict[str, Any] | None]] = [
    (Guard(changed=("status", "owner")), "changed=status, owner: a pattern cannot compare the two images", None),
    (
        Guard(frozenset((MODIFY,)), changed=("status",)),
        "cannot compare the two images",
        {"eventName": ["MODIFY"]},
    ),
    (
        Guard(keys={"SK": less_than(10)}),
        "Keys.SK: numbers are texts in the record, so no numeric operator sees them",
        _at("Keys", "SK", {"N": [{"exists": True}]}),
    ),
    (
        Guard(keys={"PK": {"wildcard": "a*b"}}),
        "Keys.PK: the filter of an event source does not know wildcard 'a*b'",
        _at("Keys", "PK", {"S": [{"exists": True}]}),
    ),
    (
        Guard(keys={"PK": ["x", {"anything-but": {"prefix": "y"}}]}),
        "does not know anything-but {'prefix': 'y'}",
        _at("Keys", "PK", {"S": [{"exists": True}]}),
    ),
    (Guard(new={"$or": "x"}), "NewImage.$or: Lambda FilterCriteria pattern", None),
    (Guard(keys={"PK": "x" * 5000}), "Keys.PK: Lambda FilterCriteria pattern: expected at most 4096 characters", None),
]


@pytest.mark.parametrize(("guard", "reason", "widest"), _NOT, ids=range(len(_NOT)))
def test_s17_what_aws_cannot_filter(guard: Guard, reason: str, widest: dict[str, Any] | None) -> None:
    criteria = filter_criteria(guard, _KEYS)
    assert isinstance(criteria, NotFilterable)
    (given_reason,) = criteria.reasons
    assert reason in given_reason
    assert criteria.widest == widest


def test_conditions_beyond_the_service_s_limits_are_left_to_the_guard() -> None:
    conditions = {f"attribute-{number}": anything_but("x") for number in range(6)}
    criteria = filter_criteria(Guard(new=conditions), _KEYS)
    assert isinstance(criteria, NotFilterable)
    assert 0 < len(criteria.reasons) < 6
    assert criteria.widest is not None
    assert len(criteria.widest["dynamodb"]["NewImage"]) == 6 - len(criteria.reasons)


_texts = st.sampled_from(("", "a", "ab", "b", "5", "10.0.0.1", "::ffff:a00:1"))
_numbers = st.sampled_from((0, 1, 5, 10, Decimal("0.5"), Decimal("12345678901234567890.123456789"), Decimal("1e20")))
_scalars = st.one_of(_texts, _numbers, st.booleans(), st.none(), st.sampled_from((b"a", b"")))
_values = st.recursive(
    st.one_of(
        _scalars,
        st.sets(_texts, min_size=1, max_size=2),
        st.sets(_numbers, min_size=1, max_size=2),
        st.just({b"a"}),
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(("S", "L", "x")), inner, max_size=2),
    max_leaves=4,
)
_names = st.sampled_from(("prefix", "S"))
_items = st.dictionaries(_names, _values, max_size=3)
_matchers: st.SearchStrategy[Any] = st.one_of(
    _texts,
    _numbers,
    st.booleans(),
    st.none(),
    st.sampled_from(
        (
            prefix("a"),
            prefix(""),
            suffix("b"),
            {"equals-ignore-case": "AB"},
            {"wildcard": "a*"},
            {"prefix": {"equals-ignore-case": "A"}},
            {"cidr": "10.0.0.0/8"},
            anything_but("a"),
            anything_but("a", "b"),
            anything_but(5),
            {"anything-but": "a"},
            {"anything-but": {"prefix": "a"}},
            less_than(5),
            at_least(Decimal("0.5")),
            between(1, 10),
            exists(),
            absent(),
        )
    ),
)
_conditions: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    _names, _matchers | st.lists(_matchers, min_size=1, max_size=3), max_size=2
)


@st.composite
def _guards(draw: st.DrawFn) -> Guard:
    return Guard(
        event_names=frozenset(draw(st.sets(st.sampled_from(EVENT_NAMES), min_size=1))),
        keys=draw(st.dictionaries(st.sampled_from(("PK", "SK")), _matchers, max_size=2)),
        changed=draw(st.sampled_from(((), (), ("status",)))),
        old=draw(_conditions),
        new=draw(_conditions),
    )


@st.composite
def _changes(draw: st.DrawFn) -> Change:
    event_name = draw(st.sampled_from(EVENT_NAMES))
    keys: Mapping[str, Any] = {"PK": draw(_texts), "SK": draw(_numbers)}
    new = None if event_name == REMOVE else {**draw(_items), **keys}
    old = None if event_name == INSERT else {**draw(_items), **keys}
    return Change(
        id="c1",
        table="orders",
        event_name=event_name,
        keys=encode_item(keys),
        new_image=None if new is None else encode_item(new),
        old_image=None if old is None else encode_item(old),
        sequence_number="1",
    )


def _check(guard: Guard, change: Change) -> None:
    criteria = filter_criteria(guard, _KEYS)
    pattern = criteria.pattern if isinstance(criteria, FilterPattern) else criteria.widest
    record = json.loads(json.dumps(to_streams_record(change, region="us-east-1", stream_arn="arn")))
    passes = pattern is None or compile(json.dumps(pattern), LAMBDA).matches(record)
    router = Router([Route("r", "orders", guard, lambda _: Enqueue("q", 1))])
    admits = bool(router.plan(change, "lane"))
    if isinstance(criteria, FilterPattern):
        assert passes is admits
    else:
        assert passes or not admits


@settings(max_examples=200, deadline=None)
@given(_guards(), _changes())
def test_s17_the_pattern_misses_no_record_and_where_exact_lets_no_other_through(guard: Guard, change: Change) -> None:
    _check(guard, change)


@settings(max_examples=600, deadline=None)
@given(st.lists(_matchers, min_size=1, max_size=3), _values)
@example([anything_but(5)], "5")
@example([anything_but(5)], {"5", "a"})
@example([absent()], ["a"])
def test_s17_the_pattern_of_one_condition_says_what_the_condition_says(matchers: list[Any], value: Any) -> None:
    keys = {"PK": "x", "SK": 1}
    item = encode_item({**keys, "status": value})
    _check(
        Guard(new={"status": matchers}),
        Change(id="c1", table="orders", event_name=INSERT, keys=encode_item(keys), new_image=item, sequence_number="1"),
    )
