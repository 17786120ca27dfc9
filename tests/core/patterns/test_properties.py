"""The compiled matcher, the set of patterns and the explanation agree with the slow reference."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from afterwrite.core.patterns import PatternSet, compile
from core.patterns.one_field import predicate_of
from core.patterns.reference import slow_leaf, slow_matches
from core.patterns.strategies import events, matchers, patterns, scalars

_examples = settings(max_examples=400, deadline=None)


@_examples
@given(patterns, st.lists(events, min_size=1, max_size=4))
def test_a_compiled_pattern_agrees_with_the_semantics(pattern: dict[str, Any], seen: list[dict[str, Any]]) -> None:
    compiled = compile(pattern)
    for event in seen:
        expected = slow_matches(pattern, event)
        assert compiled.matches(event) is expected
        assert (compiled.explain(event) == ()) is expected


@_examples
@given(matchers, scalars)
def test_the_matchers_of_a_field_agree_with_the_semantics(wanted: list[Any], value: Any) -> None:
    predicate = predicate_of(wanted)
    assert predicate(value) is slow_leaf(wanted, value)
    assert predicate([{}, [value]]) is slow_leaf(wanted, value)
    absent = {"exists": False} in wanted
    assert compile({"field": wanted}).matches({}) is predicate([]) is predicate({}) is absent


@settings(max_examples=150, deadline=None)
@given(
    st.lists(patterns, min_size=1, max_size=6),
    st.lists(events, min_size=1, max_size=3),
    st.data(),
)
def test_a_set_agrees_with_its_patterns_through_additions_and_removals(
    wanted: list[dict[str, Any]], seen: list[dict[str, Any]], data: st.DataObject
) -> None:
    held = {str(number): pattern for number, pattern in enumerate(wanted)}
    together = PatternSet()
    for name, pattern in held.items():
        together.add(name, pattern)
    for event in seen:
        assert together.match(event) == {name for name, pattern in held.items() if compile(pattern).matches(event)}
    for name in data.draw(st.lists(st.sampled_from(sorted(held)), unique=True)):
        together.remove(name)
        del held[name]
    assert len(together) == len(held)
    for event in seen:
        assert together.match(event) == {name for name, pattern in held.items() if compile(pattern).matches(event)}
