"""Hostile patterns and events: bounded work, clear errors, no exhausted stack."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from time import thread_time
from typing import Any

import pytest

from afterwrite.core.patterns import PatternSet, compile
from afterwrite.errors import InvalidPattern
from core.patterns.one_field import predicate_of

# Of processor time: the machine may be slow, and what is unbounded takes far longer.
_SECONDS_MAX = 30.0


@pytest.fixture(autouse=True)
def _bounded() -> Any:
    began = thread_time()
    yield
    assert thread_time() - began < _SECONDS_MAX


def _deep(levels: int) -> str:
    return '{"a":' * levels + '["x"]' + "}" * levels


def test_a_hundred_levels_are_allowed_and_no_more() -> None:
    assert compile(_deep(100)).matches(json.loads(_deep(100)))
    with pytest.raises(InvalidPattern, match="at most 100 levels"):
        compile(_deep(101))
    with pytest.raises(InvalidPattern, match="at most 100 levels"):
        compile(json.dumps({"a." * 100 + "a": ["x"]}))


def test_nesting_beyond_the_parser_s_depth_is_refused() -> None:
    levels = 100_000
    with pytest.raises(InvalidPattern, match="at most 4096 characters"):
        compile("[" * levels)
    nested: Any = ["x"]
    for _ in range(levels):
        nested = {"a": nested}
    with pytest.raises(InvalidPattern, match="at most 100 levels"):
        compile(nested)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"$or": [inner, {"b": [1]}]}])
def test_other_nesting_is_refused_too(wrap: Callable[[Any], Any]) -> None:
    nested: Any = {"a": ["x"]}
    for _ in range(100_000):
        nested = wrap(nested)
    with pytest.raises(InvalidPattern, match="expected"):
        compile(nested if isinstance(nested, dict) else {"a": [nested]})


def test_arrays_may_nest_deeper_than_the_stack() -> None:
    value: Any = "x"
    for _ in range(50_000):
        value = [value]
    assert predicate_of(["x"])(value)
    assert not predicate_of(["y"])(value)


def test_many_values_deep_in_arrays_cost_memory_by_their_number_only() -> None:
    value: Any = [[["x"], "y"] for _ in range(10_000)]
    for _ in range(1_000):
        value = [value]
    predicate = predicate_of(["z"])
    tracemalloc.start()
    try:
        assert not predicate(value)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_an_event_s_arrays_may_nest_deeper_than_the_stack() -> None:
    value: Any = {"b": 1, "c": 2}
    for _ in range(3_000):
        value = [value]
    assert compile({"a": {"b": [1], "c": [2]}}).matches({"a": value})
    assert not compile({"a": {"b": [1], "c": [3]}}).matches({"a": value})


def test_branches_are_counted_as_they_multiply() -> None:
    pattern = ",".join('"$or":[{"a":[1]},{"b":[1]}]' for _ in range(100))
    with pytest.raises(InvalidPattern, match=r"at most 1000 combinations of \$or"):
        compile("{" + pattern + "}")


def test_compiling_is_quick_however_deep_wide_or_forked() -> None:
    deep_and_wide = {"a." * 98 + "a": {f"b{number}": [number] for number in range(280)}}
    fields = {f"f{number}": [number] for number in range(100)}
    forked: dict[str, Any] = {"x": ["x"]}
    for number in range(9):
        forked = {f"x{number}": [1], "$or": [forked, {f"y{number}": [2]}, {f"z{number}": [3]}]}
    for pattern in (deep_and_wide, {**fields, **forked}):
        assert not compile(pattern).matches({"f0": 1})
        together = PatternSet()
        together.add("rule", pattern)
        assert together.match({"f0": 1}) == frozenset()


def test_independent_arrays_do_not_multiply() -> None:
    names = [f"a{number}" for number in range(12)]
    pattern = compile({name: {"x": [1], "y": [1]} for name in names})
    event: dict[str, Any] = {name: [{"x": 1, "y": 1}] * 50 for name in names}
    assert pattern.matches(event)
    event[names[-1]] = [{"x": 1, "y": 0}, {"x": 0, "y": 1}] * 50
    assert not pattern.matches(event)


def test_one_long_array_costs_its_length_and_not_its_square() -> None:
    elements = [{"x": 1, "y": [{"z": 0}]} for _ in range(10_000)]
    pattern = compile({"a": {"x": [1], "y": {"z": [1]}, "z": [{"exists": False}]}})
    assert not pattern.matches({"a": elements})
    assert pattern.matches({"a": [*elements, {"x": 1, "y": [{"z": 1}]}]})


def test_a_wildcard_does_not_backtrack() -> None:
    predicate = predicate_of([{"wildcard": "*a*a*a*a*b"}])
    assert not predicate("a" * 1_000_000)
    assert predicate("a" * 1_000_000 + "b")


@pytest.mark.parametrize("operator", ["prefix", "suffix"])
def test_folding_case_is_linear(operator: str) -> None:
    predicate = predicate_of([{operator: {"equals-ignore-case": "é" * 4_000}}])
    assert not predicate("É" * 3_999 + "x" + "É" * 1_000_000 + "x" + "É" * 3_999)


def test_a_set_tries_few_of_its_many_patterns() -> None:
    together = PatternSet()
    for number in range(5_000):
        together.add(f"by-key-{number}", {"kind": ["order"], "id": [f"k{number}"]})
        together.add(f"by-prefix-{number}", {"kind": ["order"], "path": [{"prefix": f"/{number:05}/"}]})
    event = {"kind": "order", "id": "k7", "path": "/00009/x"}
    for _ in range(5_000):
        assert together.match(event) == {"by-key-7", "by-prefix-9"}


def test_a_set_looks_at_an_event_s_own_fields_only() -> None:
    together = PatternSet()
    for number in range(5_000):
        together.add(str(number), {"detail": {f"f{number}": {"x": [number]}, f"g{number}": ["x"]}})
    event = {"detail": {"f7": {"x": 7}, "g7": "x", "h": 1}}
    for _ in range(5_000):
        assert together.match(event) == {"7"}
