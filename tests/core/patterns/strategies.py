"""Small events and patterns that often meet: few names, few values, arrays in arrays, names with dots."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from afterwrite.core.patterns import compile
from afterwrite.errors import InvalidPattern

_NAMES = ("a", "b", "c", "a.b", "b.c", "a.b.c")
_TEXTS = ("", "a", "ab", "aB", "abc", "b*", "10.0.0.1", "10.0.0.9", "2001:db8::1", "2001:DB8:0::1", "é", "É")
_NUMBERS = (0, 1, 2, 1.0, 0.5, -3)

scalars = st.sampled_from([*_TEXTS, *_NUMBERS, True, False, None])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3),
    max_leaves=12,
)
events = st.dictionaries(st.sampled_from(_NAMES), values, max_size=4)

_texts = st.sampled_from(_TEXTS)
_full_texts = st.sampled_from([text for text in _TEXTS if text])
_some_texts = st.lists(_texts, min_size=1, max_size=2)
_wildcards = st.sampled_from(("", "*", "a*", "*b", "a*c", "*a*", "*.0.*"))
_ranges = st.sampled_from((["=", 1], ["<", 1], ["<=", 1], [">", 0.5], [">=", 2], [">", 0, "<=", 1], [">=", 0, "<", 2]))


def _object(operator: str, operands: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return operands.map(lambda operand: {operator: operand})


_ignoring_case = _object("equals-ignore-case", _texts)
matchers = st.lists(
    st.one_of(
        scalars,
        scalars,
        _object("prefix", _texts | _ignoring_case),
        _object("suffix", _texts | _ignoring_case),
        _ignoring_case,
        _object("wildcard", _wildcards),
        _object("exists", st.booleans()),
        _object("numeric", _ranges),
        _object("cidr", st.sampled_from(("10.0.0.0/29", "10.0.0.1/8", "2001:db8::/64"))),
        _object("anything-but", _texts | _some_texts | st.sampled_from([1, 0, [1, 2], [0.5]])),
        _object("anything-but", _object("prefix", _full_texts) | _object("suffix", st.lists(_full_texts, min_size=1))),
        _object("anything-but", _object("equals-ignore-case", _some_texts) | _object("wildcard", _wildcards)),
    ),
    min_size=1,
    max_size=3,
)


def _has_few_wildcards(pattern: dict[str, Any]) -> bool:
    try:
        compile(pattern)
    except InvalidPattern as refusal:
        if "wildcards with fewer stars" in str(refusal):
            return False
        raise
    return True


_levels = st.recursive(
    st.dictionaries(st.sampled_from(_NAMES), matchers, min_size=1, max_size=3),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(_NAMES), inner | matchers, min_size=1, max_size=3),
        st.builds(
            lambda fields, alternatives, last: {**fields, "$or": alternatives, **last},
            st.dictionaries(st.sampled_from(_NAMES), matchers, max_size=2),
            st.lists(inner, min_size=2, max_size=3),
            st.dictionaries(st.sampled_from(_NAMES), matchers, max_size=1),
        ),
    ),
    max_leaves=6,
)
patterns = _levels.filter(_has_few_wildcards)
