"""CBOR as it stands in requests and answers. The examples in hexadecimal are RFC 8949's (appendix A), or after them."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.errors import ServiceError
from afterwrite.server import cbor
from afterwrite.server.cbor import Members
from afterwrite.server.http_messages import Response

NONE = Members(frozenset(), frozenset())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=5), inner, max_size=30),
    max_leaves=50,
)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("1903e8", 1000),
        ("1a000f4240", 1_000_000),
        ("1bffffffffffffffff", 18446744073709551615),
        ("20", -1),
        ("3863", -100),
        ("3903e7", -1000),
        ("f93c00", 1.0),
        ("fa47c35000", 100_000.0),
        ("fb3ff199999999999a", 1.1),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("f7", None),
        ("60", ""),
        ("6449455446", "IETF"),
        ("62c3bc", "ü"),
        ("7f657374726561646d696e67ff", "streaming"),
        ("4401020304", base64.b64encode(b"\1\2\3\4").decode()),
        ("5f42010243030405ff", base64.b64encode(b"\1\2\3\4\5").decode()),
        ("80", []),
        ("83010203", [1, 2, 3]),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("d9d9f7a0", {}),
        ("c11b0000018bcfe5687b", 1_700_000_000.123),
        ("c1fb40f86a0000000000", 100.0),
    ],
)
def test_what_is_written_is_read(encoded: str, value: Any) -> None:
    assert cbor.parsed(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "18",
        "1900",
        "1c",
        "1f",
        "61",
        "7f",
        "7f4101ff",
        "7f7f6161ffff",
        "61ff",
        "5affffffff00",
        "81",
        "9bffffffffffffffff00",
        "9f",
        "a1",
        "a16161",
        "bf6161ff",
        "a10102",
        "f8ff",
        "f97e00",
        "fb7ff0000000000000",
        "ff",
        "0000",
        "81" * 100 + "00",
        "c1" * 100_000 + "00",
    ],
)
def test_what_is_none_is_refused(encoded: str) -> None:
    with pytest.raises(ServiceError, match="the body is no CBOR") as refusal:
        cbor.parsed(bytes.fromhex(encoded))
    assert refusal.value.code == "SerializationException"


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        cbor.parsed(data)
    except ServiceError as error:
        assert error.code == "SerializationException"


@given(VALUES)
def test_an_answer_says_what_it_says_in_json(value: Any) -> None:
    response = cbor.in_cbor(Response(200, orjson.dumps(value), headers=(("a", "b"),)), NONE)

    assert cbor.parsed(response.body) == value
    assert (response.content_type, response.headers) == ("application/x-amz-cbor-1.1", (("a", "b"),))


def test_bytes_and_times_of_an_answer_are_such() -> None:
    members = Members(frozenset({"Data"}), frozenset({"At"}))
    answer = {"Records": [{"Data": "AQI=", "Key": "AQI=", "At": 1700000000.123}], "At": 0}

    encoded = cbor.in_cbor(Response(200, orjson.dumps(answer)), members).body

    record = "a3 64 44617461 42 0102 63 4b6579 64 4151493d 62 4174 c1 1b 0000018bcfe5687b"
    assert encoded.hex() == f"a2 67 5265636f726473 81 {record} 62 4174 c1 00".replace(" ", "")


def test_an_answer_without_a_body_has_none() -> None:
    assert cbor.in_cbor(Response(200, b""), NONE) == Response(200, b"", "application/x-amz-cbor-1.1")
