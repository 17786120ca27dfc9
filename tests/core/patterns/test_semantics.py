"""The numbered facts that the cases do not reach, and the words of refusals."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest

from afterwrite.core.patterns import compile
from afterwrite.errors import InvalidPattern
from core.patterns.one_field import predicate_of
from core.patterns.reference import slow_leaf


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        (1, 1.0, True),
        (1, Decimal("10e-1"), True),
        (1, True, False),
        (1, "1", False),
        (True, 1, False),
        (False, 0, False),
        (None, 0, False),
        (None, False, False),
        (0, -0.0, True),
        (0.1, Decimal("0.1"), True),
        (2**53 + 1, 2**53 + 1, True),
        (2**53 + 1, 2**53, False),
        (2**53 + 1, Decimal(2**53 + 1), True),
        (Decimal("0.12345678901234567890"), Decimal("0.12345678901234567890"), True),
        (Decimal("0.12345678901234567890"), Decimal("0.1234567890123456789"), False),
        (Decimal("1e400"), Decimal("1E+400"), True),
        (10**400, 10**400, True),
    ],
)
def test_p2_numbers_match_as_doubles_and_else_as_text(wanted: Any, found: Any, expected: bool) -> None:
    assert predicate_of([wanted])(found) is expected


@pytest.mark.parametrize("found", [2**53 + 1, 2**60, Decimal("0.12345678901234567890"), Decimal("1e400"), 10**400])
def test_p2_a_number_that_is_no_exact_double_matches_no_numeric_operator(found: Any) -> None:
    assert not predicate_of([{"numeric": [">", -1]}])(found)
    assert not predicate_of([{"numeric": ["<=", 1e300]}])(found)
    assert predicate_of([{"anything-but": [0, 1]}])(found)


def test_p2_numbers_of_an_event_may_be_longer_than_python_writes_them() -> None:
    assert not predicate_of([1])(10**5000)
    assert predicate_of([{"anything-but": [1]}])(10**5000)
    with pytest.raises(InvalidPattern, match="expected what JSON can hold"):
        compile({"field": [10**5000]})


def test_p2_the_text_of_a_pattern_s_number_is_kept() -> None:
    pattern = compile('{"account": [123456789012345678901]}')
    assert pattern.matches(json.loads('{"account": 123456789012345678901}'))
    assert not pattern.matches(json.loads('{"account": 123456789012345678902}'))


def test_p3_anything_but_matches_an_array_if_any_element_differs() -> None:
    predicate = predicate_of([{"anything-but": ["a", "b"]}])
    assert predicate(["a", "c"])
    assert not predicate(["a", "b"])
    for value in (1, None, True, "c"):
        assert predicate(value)
    assert not compile({"field": [{"anything-but": ["a", "b"]}]}).matches({})
    assert not predicate([])
    assert not predicate({})


_WITHOUT_LEAF: list[Any] = [[], {}, {"b": 1}, [[], {}]]


@pytest.mark.parametrize("value", _WITHOUT_LEAF)
def test_p4_exists_sees_leaves_only(value: Any) -> None:
    assert compile({"a": [{"exists": False}]}).matches({"a": value})
    assert not compile({"a": [{"exists": True}]}).matches({"a": value})


@pytest.mark.parametrize("value", [None, "", 0, False, [""]])
def test_p4_null_and_empty_text_exist(value: Any) -> None:
    assert compile({"a": [{"exists": True}]}).matches({"a": value})
    assert not compile({"a": [{"exists": False}]}).matches({"a": value})


def test_s17_a_numeric_operator_never_sees_a_dynamodb_number() -> None:
    record = {"dynamodb": {"NewImage": {"stock": {"N": "5"}}}}
    assert not compile({"dynamodb": {"NewImage": {"stock": {"N": [{"numeric": ["<", 10]}]}}}}).matches(record)
    assert compile({"dynamodb": {"NewImage": {"stock": {"N": ["5"]}}}}).matches(record)


def test_s17_a_missing_attribute_and_the_type_leaf() -> None:
    def pattern(*path: str, exists: bool) -> dict[str, Any]:
        inner: Any = [{"exists": exists}]
        for step in reversed(("dynamodb", "NewImage", *path)):
            inner = {step: inner}
        return dict(inner)

    record = {"dynamodb": {"NewImage": {"status": {"S": "new"}}}}
    assert compile(pattern("owner", exists=False)).matches(record)
    assert not compile(pattern("status", exists=True)).matches(record)
    assert compile(pattern("status", "S", exists=True)).matches(record)


def test_p5_fields_of_different_elements_never_combine() -> None:
    pattern = compile({"orders": {"lines": {"sku": ["a"], "paid": [True]}, "id": [2]}})
    first = {"id": 1, "lines": [{"sku": "a", "paid": True}]}
    apart = {"id": 2, "lines": [{"sku": "a", "paid": False}, {"sku": "b", "paid": True}]}
    whole = {"id": 2, "lines": [{"sku": "b", "paid": False}, {"sku": "a", "paid": True}]}
    assert not pattern.matches({"orders": [first, apart]})
    assert pattern.matches({"orders": [first, apart, whole]})
    assert compile({"tags": ["x"], "labels": ["y"]}).matches({"tags": ["w", "x"], "labels": ["y", "z"]})


def test_p5_exists_false_looks_at_the_elements_that_earlier_fields_leave() -> None:
    pattern = compile({"items": {"id": [1], "removed": [{"exists": False}]}})
    assert pattern.matches({"items": [{"id": 1}, {"id": 2, "removed": True}]})
    assert not pattern.matches({"items": [{"id": 1, "removed": True}, {"id": 2}]})
    earlier = compile({"items": {"deleted": [{"exists": False}], "id": [1]}})
    assert not earlier.matches({"items": [{"id": 1}, {"id": 2, "deleted": True}]})


def test_p6_a_branch_overrides_an_outer_path_and_a_later_path_overrides_the_branches() -> None:
    branches = [{"a": ["x"]}, {"b": ["y"]}]
    assert compile({"a": ["w"], "$or": branches}).matches({"a": "x"})
    assert not compile({"$or": branches, "a": ["w"]}).matches({"a": "x"})
    assert compile({"$or": branches, "a": ["w"]}).matches({"a": "w"})


def test_p7_one_path_however_it_is_written() -> None:
    for pattern in ({"a.b": {"c": ["x"]}}, {"a": {"b.c": ["x"]}}, {"a": {"b": {"c": ["x"]}}}):
        for event in ({"a.b.c": "x"}, {"a.b": {"c": "x"}}, {"a": {"b.c": "x"}}, {"a": {"b": [{"c": "x"}]}}):
            assert compile(pattern).matches(event)
    assert compile({"a.b": ["x"]}).matches({"a": {"b": "y"}, "a.b": "x"})


def test_p7_the_last_of_repeated_keys_wins_and_objects_are_joined() -> None:
    assert compile('{"a": ["x"], "a": ["y"]}').matches({"a": "y"})
    assert not compile('{"a": ["x"], "a": ["y"]}').matches({"a": "x"})
    joined = compile('{"a": {"b": [1]}, "a": {"c": [2]}}')
    assert joined.matches({"a": {"b": 1, "c": 2}})
    assert not joined.matches({"a": {"c": 2}})


def test_p9_exact_texts_that_are_addresses_compare_as_addresses() -> None:
    assert predicate_of(["2001:DB8::1"])("2001:0db8:0:0:0:0:0:1")
    assert predicate_of(["10.0.0.1"])("10.0.0.1")
    assert predicate_of(["10.0.0.1"])("::ffff:a00:1")
    assert not predicate_of(["10.0.0.1"])("10.0.0.2")
    assert predicate_of(["999.0.0.1"])("999.0.0.1")


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("010.000.0.01", "10.0.0.1"),
        ("0000.0.0.1", "0.0.0.1"),
        ("2001:00db8::00001", "2001:db8::1"),
        ("::", "0:0:0:0:0:0:0:0"),
    ],
)
def test_p9_an_address_may_have_leading_zeros(written: str, address: str) -> None:
    assert predicate_of([address])(written)
    assert predicate_of([written])(address)


@pytest.mark.parametrize("text", ["0000010.0.0.00001", "10.0.0", "1.2.3.4.5", ":", ":::", "1:2:3:4:5:6:7", "12345::"])
def test_p9_what_is_no_address_compares_as_text(text: str) -> None:
    assert predicate_of([text])(text)
    assert not predicate_of([text])(text + " ")


def test_p9_beside_an_address_no_other_matcher_sees_the_text_of_one() -> None:
    beside = predicate_of([{"cidr": "10.0.0.0/8"}, {"prefix": "192."}, {"wildcard": "*.7"}])
    assert beside("10.1.2.3")
    assert not beside("192.168.0.1")
    assert not beside("1.2.3.7")
    assert beside("192.example")
    assert predicate_of([{"prefix": "192."}])("192.168.0.1")
    assert predicate_of(["10.0.0.1", {"anything-but": "10.0.0.2"}])("10.0.0.2")
    assert predicate_of(["10.0.0.1", {"exists": True}])("10.0.0.2")


@pytest.mark.parametrize("number", [1, {"numeric": [">", 0]}, {"anything-but": 5}])
def test_p9_where_numbers_are_compared_no_address_is(number: Any) -> None:
    both = predicate_of([number, "10.0.0.1", {"cidr": "10.0.0.0/8"}, {"prefix": "192."}])
    assert both(1)
    assert both("10.0.0.1") is (number == {"anything-but": 5})
    assert both("192.168.0.1")


def test_p9_an_exact_string_can_be_asked_for_as_written() -> None:
    exactly = predicate_of([{"exactly": "10.0.0.1"}])
    assert exactly("10.0.0.1")
    assert not exactly("::ffff:a00:1")


@pytest.mark.parametrize("block", ["10.0.0.0/8/", "10.0.0.0/+8", "10.0.0.0/008", "010.0.0.0/8"])
def test_p9_a_block_is_read_as_the_reference_reads_it(block: str) -> None:
    assert predicate_of([{"cidr": block}])("10.200.0.1")
    assert not predicate_of([{"cidr": block}])("11.0.0.1")


@pytest.mark.parametrize(
    ("block", "inside", "outside"),
    [
        ("10.1.2.3/24", "10.1.2.0", "10.1.3.0"),
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("2001:db8::7/127", "2001:db8::6", "2001:db8::8"),
    ],
)
def test_p9_host_bits_are_allowed(block: str, inside: str, outside: str) -> None:
    assert predicate_of([{"cidr": block}])(inside)
    assert not predicate_of([{"cidr": block}])(outside)


@pytest.mark.parametrize(
    ("block", "value", "expected"),
    [
        ("10.0.0.0/8", "a00::1", True),
        ("10.0.0.0/8", "b00::1", False),
        ("10.0.0.16/28", "a00:1f:ffff::", True),
        ("10.0.0.16/28", "a00:20::", False),
        ("10.0.0.16/28", "a00:0:20::", False),
        ("0.0.0.0/0", "2001:db8::1", True),
        ("0.0.0.0/0", "::1", True),
        ("::/0", "10.0.0.1", True),
        ("::/0", "0.0.0.0", False),
        ("2001:db8::/32", "32.1.13.184", False),
        ("10.0.0.1/0", 1, True),
        ("2001:db8::/0", 1, True),
        ("10.0.0.0/8", 1, False),
        ("16.0.0.0/4", 12, True),
        ("16.0.0.0/4", 1, False),
        ("16.0.0.0/4", 2, False),
        ("10.0.0.1/0", -1, False),
        ("10.0.0.1/0", 0.5, False),
        ("10.0.0.1/0", True, False),
    ],
)
def test_p9_a_block_looks_at_as_many_digits_as_tell(block: str, value: Any, expected: bool) -> None:
    assert predicate_of([{"cidr": block}])(value) is expected
    assert slow_leaf([{"cidr": block}], value) is expected


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ("straße", "STRAßE", True),
        ("straße", "STRASSE", True),
        ("k", "\u212a", False),
        ("\u212a", "k", True),
        ("ÉTÉ", "été", True),
        ("", "", True),
        ("", "a", False),
        ("\U00010400", "\U00010400", False),
        ("\U00010400", "??", True),
    ],
)
def test_p10_case_folds_a_character_at_a_time(wanted: str, found: str, expected: bool) -> None:
    assert predicate_of([{"equals-ignore-case": wanted}])(found) is expected
    assert predicate_of([{"prefix": {"equals-ignore-case": wanted}}])(found + "!") is (expected or not wanted)
    assert predicate_of([{"suffix": {"equals-ignore-case": wanted}}])("!" + found) is (expected or not wanted)


@pytest.mark.parametrize("wildcard", ["*a*b*c*d*e*f*g*h", "*:*:*:*:*:", "*aa*aa*aa*", "a*:*:b*c*d*e"])
def test_p8_wildcards_may_have_many_stars_before_different_characters(wildcard: str) -> None:
    assert predicate_of([{"wildcard": wildcard}])(wildcard.replace("*", "x"))


_TAKEN: list[tuple[str, Any, bool]] = [
    ('{"a": [{"numeric": ["=", 1E-320]}, {"numeric": [">=", -4e-8, "<", 3.3E-7]}]}', {"a": 3.2e-7}, True),
    (
        '{"a": [{"anything-but": {"equals-ignore-case": ["x", ""]}}, {"anything-but": {"wildcard": ["x*y", ""]}}]}',
        {"a": ""},
        False,
    ),
    ('{"a": [{"suffix": ""}]}', {"a": "anything"}, True),
    ('{"a": [{"equals-ignore-case": ""}, {"wildcard": ""}, ""]}', {"a": " "}, False),
    ('{"a": [12345678901234567890, 1e400, -0.0, null]}', {"a": 0}, True),
    ('{"exists": {"prefix": ["x"]}, "": ["x"], "$and": [1]}', {"exists": {"prefix": "x"}, "": "x", "$and": 1}, True),
]


@pytest.mark.parametrize(("pattern", "event", "verdict"), _TAKEN)
def test_what_looks_odd_is_taken_at_its_word(pattern: str, event: Any, verdict: bool) -> None:
    assert compile(pattern).matches(event) is verdict


_REFUSED: list[tuple[Any, str]] = [
    ("[]", "at the top: expected an object, found []"),
    ("{}", "at the top: expected an object with at least one field, found {}"),
    ("{", "expected JSON"),
    ('{"a": [NaN]}', "NaN is no JSON number"),
    ('{"a": [1e99999999999999999999]}', "expected JSON"),
    ({"a": "x"}, "at a: expected an object or a list of matchers, found 'x'"),
    ({"a": []}, "at a: expected at least one matcher in the list, found []"),
    ({"a": {"b": {}}}, "at a.b: expected an object with at least one field, found {}"),
    ({"a": {"b": [["x"]]}}, "at a.b: expected a string, number, true, false, null or a match object, found ['x']"),
    ({"a": [{}]}, "at a: expected a match object with one key, found {}"),
    ({"a": [{"prefix": "x", "suffix": "y"}]}, "expected a match object with one key"),
    ({"a": [{"Prefix": "x"}]}, "at a: expected one of the operators anything-but, cidr,"),
    ({"a": [{"prefix": {"wildcard": "x"}}]}, 'expected prefix with a string or {"equals-ignore-case": string}'),
    ({"a": [{"exists": "yes"}]}, "expected exists with true or false, found 'yes'"),
    ({"a": [{"wildcard": "a**b"}]}, "in a wildcard, no two stars in a row (at character 1), found 'a**b'"),
    ({"a": [{"wildcard": "a\\b"}]}, r"a backslash only before * or \ (at character 1)"),
    ({"a": [{"wildcard": "a\\"}]}, r"a backslash only before * or \ (at character 1)"),
    (
        {"a": [{"wildcard": "*:*:*:*:*:event-bus/*"}]},
        "expected wildcards with fewer stars, or less repetition after a star",
    ),
    ({"a": [{"numeric": []}]}, "numeric with one comparison, or a lower and an upper bound, found []"),
    ({"a": [{"numeric": ["!=", 1]}]}, 'numeric with one of "=", "<", "<=", ">", ">=", found \'!=\''),
    ({"a": [{"numeric": ["<", "1"]}]}, "a number to compare with, found '1'"),
    ({"a": [{"numeric": ["<", True]}]}, "a number to compare with, found True"),
    ({"a": [{"numeric": [["<"], 1]}]}, "numeric with one of"),
    ({"a": [{"numeric": [">", 1, "<", 1]}]}, "a range whose lower bound is below its upper bound"),
    ({"a": [{"numeric": ["<", 1, ">", 0]}]}, 'a range from ">" or ">=" to "<" or "<="'),
    ('{"a": [{"numeric": ["=", 1E309]}]}', "a number that a double holds exactly"),
    ('{"a": [{"numeric": ["<", 1E-325]}]}', "a number that a double holds exactly"),
    ('{"a": [{"anything-but": 1E309}]}', "a number that a double holds exactly"),
    ('{"a": [{"anything-but": {"prefix": "x", "a": 1}}]}', "anything-but with strings or numbers, or one of"),
    ('{"a": [{"prefix": {"equals-ignore-case": ["x"]}}]}', "equals-ignore-case with a string"),
    ({"a": [{"exactly": 33}]}, "exactly with a string"),
    ({"a": [{"numeric": ["=", 2**60]}]}, "a number that a double holds exactly"),
    ({"a": [{"anything-but": []}]}, "anything-but with strings only or with numbers only, found []"),
    ({"a": [{"anything-but": ["x", 1]}]}, "anything-but with strings only or with numbers only"),
    ({"a": [{"anything-but": [True]}]}, "anything-but with strings only or with numbers only"),
    ({"a": [{"anything-but": {"suffix": ["x", ""]}}]}, "anything-but suffix with a string that is not empty"),
    ({"a": [{"anything-but": {"prefix": []}}]}, "anything-but prefix with at least one string"),
    ({"a": [{"anything-but": {"cidr": "10.0.0.0/8"}}]}, "or one of equals-ignore-case, prefix, suffix, wildcard"),
    ({"a": [{"cidr": "10.0.0.0"}]}, "in a cidr, an IP address, a slash and the number of mask bits"),
    ({"a": [{"cidr": "10.0.0.0/32"}]}, "mask bits from 0 to 31 for IPv4"),
    ({"a": [{"cidr": "::/128"}]}, "mask bits from 0 to 127 for IPv6"),
    ({"a": [{"cidr": "10.0.0.0/-1"}]}, "mask bits from 0 to 31 for IPv4"),
    ({"$or": [{"a": [1]}]}, "$or with a list of at least two objects"),
    ({"$or": [{"a": [1]}, ["b"]]}, "objects in $or, found ['b']"),
    ({"$or": [{"prefix": [1]}, {"b": [1]}]}, "inside $or, names that are no operators, found 'prefix'"),
    ({1: ["x"]}, "fields named by strings, found 1"),
]


@pytest.mark.parametrize(("pattern", "words"), _REFUSED)
def test_a_refusal_names_the_path_what_is_allowed_and_what_was_found(pattern: Any, words: str) -> None:
    with pytest.raises(InvalidPattern) as refusal:
        compile(pattern)
    assert words in str(refusal.value)
    assert str(refusal.value).startswith("EventBridge pattern")


def test_explain_names_the_failing_fields_of_the_closest_alternative() -> None:
    pattern = compile({"kind": ["order"], "$or": [{"a": [1], "b": [2]}, {"c": [{"exists": True}]}]})
    event = {"kind": "order", "a": 5}
    assert [str(mismatch) for mismatch in pattern.explain(event)] == ["c: expected [{'exists': True}], found nothing"]
    assert [m.path for m in pattern.explain({"kind": "order", "a": 1, "b": 3})] == ["b"]
    assert pattern.explain({"kind": "order", "c": None}) == ()


def test_explain_names_fields_that_only_different_elements_have() -> None:
    pattern = compile({"items": {"id": [1], "paid": [True]}})
    event = orjson.loads('{"items": [{"id": 1}, {"id": 2, "paid": true}]}')
    assert [(m.path, m.found) for m in pattern.explain(event)] == [("items.id", (1, 2)), ("items.paid", (True,))]
    assert str(pattern.explain(event)[0]) == "items.id: expected [1], found 1, 2, in different elements of an array"
