"""The public surface of `afterwrite.patterns`, typed as a user's program sees it; mypy checks this file, too."""

from __future__ import annotations

import doctest
from typing import assert_type

import pytest

from afterwrite import patterns
from afterwrite.patterns import DIALECTS, LAMBDA, Dialect, InvalidPattern, Mismatch, Pattern, PatternSet


def test_a_pattern() -> None:
    pattern = assert_type(patterns.compile({"eventName": ["INSERT"]}, dialect=LAMBDA), Pattern)
    assert assert_type(pattern.matches({"eventName": "INSERT"}), bool)
    assert assert_type(patterns.compile('{"a": [1]}').matches({"a": 1.0}), bool)
    (mismatch,) = assert_type(pattern.explain({"eventName": "REMOVE"}), tuple[Mismatch, ...])
    assert (mismatch.path, mismatch.expected, mismatch.found) == ("eventName", ("INSERT",), ("REMOVE",))


def test_a_set_of_patterns() -> None:
    together = PatternSet()
    together.add("inserts", {"eventName": ["INSERT"]}, LAMBDA)
    together.add("orders", patterns.compile({"kind": ["order"]}))
    assert assert_type(together.match({"eventName": "INSERT"}), frozenset[str]) == {"inserts"}
    assert assert_type(len(together), int) == 2
    together.remove("orders")
    assert "orders" not in together


def test_an_invalid_pattern_says_where_what_and_what_instead() -> None:
    with pytest.raises(InvalidPattern, match=r"at detail\.kind: expected an object or a list of matchers, found 'x'"):
        patterns.compile({"detail": {"kind": "x"}})


def test_dialects_have_names() -> None:
    assert assert_type(DIALECTS["lambda"], Dialect) is LAMBDA


def test_the_module_s_examples_are_true() -> None:
    assert doctest.testmod(patterns).failed == 0
    assert set(patterns.__all__) <= set(dir(patterns))
