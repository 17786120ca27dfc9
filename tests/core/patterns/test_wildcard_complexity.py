"""How many beginnings of a field's wildcards a text may match at once (P8), as recorded of EventBridge."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.core.patterns import compile
from afterwrite.core.patterns.complexity import most_at_once
from afterwrite.core.patterns.dialects import SNS_BODY
from afterwrite.core.patterns.strings import split_wildcard
from afterwrite.errors import InvalidPattern


def _any(*wildcards: str) -> list[Any]:
    return [{"wildcard": wildcard} for wildcard in wildcards]


def _none(*wildcards: str) -> list[Any]:
    return [{"anything-but": {"wildcard": list(wildcards)}}]


_SCALAR = [{"anything-but": {"wildcard": "*a*"}}]
_MIXED = ("a*bc", "abc*d", "ab*b*", "*éé*", "*abcabc*", "*a*a*a", "a*\\\\")
_REPEATING = ("a*bb", "*aba*", "*ab*ad", "*ab*ad", "*\U0001f642*")
_ESCAPING = ("a\\*b*", "*a*a*a", "a*bc", "*\U0001f642*", "*abcabc*", "a*\\\\")


@pytest.mark.parametrize(
    "matchers",
    [
        _any("*a" * 5),
        _any("*a*a*a*a*"),
        _any(f"*{'abc' * 8}*"),
        _any(*["*a*"] * 4),
        _any(*["literal"] * 11),
        _none(*["*a*"] * 11),
        _none("*a*") * 4,
        _SCALAR + _none("*a*") * 3,
        _none("*a0*", "*a1*", "*a2*", "*a3*"),
        _any("a*\\\\", "*éé*"),
        _none("a*\\\\", "*éé*"),
        _any("a*\\*", "a*bb"),
        _none("a*\\\\", "a*\\*", "literal"),
        _none(*_REPEATING),
        _any("*/datasync/*.bif", "*/datasync/*.tif"),
        _none(*(f"h{number}*x" for number in range(300))),
    ],
    ids=str,
)
def test_p8_up_to_ten_beginnings_of_wildcards_match_at_once(matchers: list[Any]) -> None:
    compile({"detail": {"value": matchers}})


@pytest.mark.parametrize(
    "matchers",
    [
        _any("*a" * 6),
        _any("*a" * 100),
        _any("*a*a*a*a*a*"),
        _any(f"*{'abc' * 9}*"),
        _any(*["*a*"] * 5),
        _none("*a*") * 5,
        _SCALAR + _none("*a*") * 4,
        _none("*a0*", "*a1*", "*a2*", "*a3*", "*a4*"),
        _none("*a0*", "*a1*", "*a2*") + _none("*a2*", "*a1*", "*a0*"),
        _any(*_MIXED),
        _none(*_MIXED),
        _any(*_REPEATING),
        _any(*_ESCAPING),
        _none(*_ESCAPING),
        _any(*(f"*/datasync/*.{kind}" for kind in ("bif", "tif", "jpg", "png"))),
        _none("*" + "a" * 4000),
    ],
    ids=lambda matchers: str(matchers)[:80],
)
def test_p8_more_than_ten_are_refused(matchers: list[Any]) -> None:
    with pytest.raises(InvalidPattern, match=r"at detail\.value: expected wildcards with fewer stars, or less repet"):
        compile({"detail": {"value": matchers}})


@pytest.mark.parametrize(("branches", "taken"), [(3, True), (4, True), (10, False), (11, False)])
def test_p8_a_wildcard_beside_an_or_counts_in_each_of_its_branches(branches: int, taken: bool) -> None:
    pattern = {"a": _any("*a*"), "$or": [{"z": [str(number)]} for number in range(branches)]}
    if taken:
        compile(pattern)
    else:
        with pytest.raises(InvalidPattern, match="at a: expected wildcards"):
            compile(pattern)


def test_p8_branches_of_an_or_count_together_while_they_are_equal_up_to_the_field() -> None:
    some, others = (_any(*(f"{letter}{number}" for number in range(6))) for letter in "pq")
    with pytest.raises(InvalidPattern, match="at z: expected wildcards"):
        compile({"a": ["x"], "$or": [{"z": some}, {"z": others}]})
    assert compile({"$or": [{"a": ["x"], "z": some}, {"a": ["y"], "z": others}]}).matches({"a": "y", "z": "q5"})
    assert compile({"a": some, "z": others}).matches({"a": "p0", "z": "q0"})


def test_the_limit_over_a_field_is_eventbridge_s_only() -> None:
    compile({"a": _any(*["*a*"] * 5)}, SNS_BODY)
    with pytest.raises(InvalidPattern, match="a wildcard with fewer stars"):
        compile({"a": _any("*a" * 6)}, SNS_BODY)


_MANY = (
    "aahed* aal*ii aargh* aarti* a*baca *abaci a*back ab*acs abaf*t *abaka ab*amp a*band *abase abash* abas*k ab*ate "
    "aba*ya abbas* abbed* ab*bes abbey* *abbot ab*cee abea*m abe*ar a*bele a*bers abet*s *abhor abi*de a*bies *abled"
)


@pytest.mark.parametrize(
    ("wildcards", "count"),
    [
        ("abc", 1),
        ("*ab", 2),
        ("*aa", 3),
        ("aa*", 2),
        ("a*bcb", 3),
        ("a*bbb", 4),
        ("*ab*ad", 4),
        ("*aba*", 4),
        ("a*b*bb", 5),
        ("a*b*cd", 3),
        ("*ab*b*b*", 7),
        ("*a*a*a*a*a*a*a*a*", 17),
        ("* ab*c", 3),
        ("ab*c x*xx", 3),
        ("*abc *abcde", 4),
        ("a*bc a*bcde", 4),
        ("a*aaa aa*aa", 7),
        ("a*aax aaa*x", 5),
        ("abc* abcde*", 3),
        ("ab*cd ab*wx ab*yz", 6),
        ("F*eatureFeature Fe*atureFeature Fea*tureFeature", 10),
        (_MANY, 45),
    ],
)
def test_p8_beginnings_are_counted_as_the_reference_counts_them(wildcards: str, count: int) -> None:
    matchers = [[tuple(split_wildcard(wildcard))] for wildcard in wildcards.split()]
    assert most_at_once(matchers, 100) == count
    assert most_at_once(reversed(matchers), 100) == count
