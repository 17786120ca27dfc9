"""The leaves of a pattern: a list of matchers becomes one predicate on one scalar (P1 to P4, P8 to P10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, NoReturn

from afterwrite.core.patterns import strings
from afterwrite.core.patterns.complexity import Wildcard
from afterwrite.core.patterns.dialects import Dialect
from afterwrite.core.patterns.numeric import exact_double, text
from afterwrite.core.patterns.strings import Test
from afterwrite.errors import InvalidPattern

ARRAYS = (list, tuple, set, frozenset)
SCALARS = frozenset((str, int, float, bool, type(None), Decimal, bytes))
_NUMBERS = (int, float, Decimal)
_FOUND_CHARACTERS_MAX = 80
# A match object with operator, operand and list, and one to spare.
_SHOWN_LEVELS_MAX = 5


class _Absent:
    """The type of `ABSENT`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()
"""What stands for the value of a field that an event does not have."""


class ObjectPairs(list[tuple[str, Any]]):
    """An object of a pattern's text as its pairs, so that repeated keys are seen (P7)."""


TraitKind = Literal["text", "folded", "prefix", "suffix", "number", "constant"]
Trait = tuple[TraitKind, Any]
"""What a value is, what a text's lower case is, or how it begins or ends."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a pattern asks of the values at one path.

    `test` is the predicate on a scalar that is present; `absent` says whether no value at all will do. A value that
    passes has one of the `traits`; `None` where that cannot be said. `wildcards` are those of each matcher that has
    some.
    """

    test: Test
    absent: bool
    traits: frozenset[Trait] | None
    source: tuple[Any, ...]
    wildcards: tuple[tuple[Wildcard, ...], ...] = ()


def refuse(path: str, expected: str, found: Any, dialect: Dialect) -> NoReturn:
    """Raise `InvalidPattern` in the words every refusal uses."""
    shown = repr(_plain(found))
    if len(shown) > _FOUND_CHARACTERS_MAX:
        shown = shown[: _FOUND_CHARACTERS_MAX - 3] + "..."
    raise InvalidPattern(f"{dialect.name} pattern, at {path or 'the top'}: expected {expected}, found {shown}")


def pairs_of(value: Any) -> Sequence[tuple[str, Any]] | None:
    """The pairs of an object of a pattern, or `None` where it is no object."""
    if isinstance(value, ObjectPairs):
        return value
    return list(value.items()) if isinstance(value, Mapping) else None


def is_array(value: Any) -> bool:
    """Whether a part of a pattern is an array."""
    return isinstance(value, list | tuple) and not isinstance(value, ObjectPairs)


def _plain(value: Any, levels: int = _SHOWN_LEVELS_MAX) -> Any:
    if levels == 0:
        return ...
    pairs = pairs_of(value)
    if pairs is not None:
        return {key: _plain(part, levels - 1) for key, part in pairs}
    if is_array(value):
        return [_plain(part, levels - 1) for part in value]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


@dataclass(slots=True)
class _Alternatives:
    """The matchers of one list, sorted by what they look at."""

    path: str
    dialect: Dialect
    texts: set[str] = field(default_factory=set)
    addresses: set[strings.Address] = field(default_factory=set)
    blocks: list[strings.Block] = field(default_factory=list)
    prefixes: set[str] = field(default_factory=set)
    suffixes: set[str] = field(default_factory=set)
    constants: set[bool | None] = field(default_factory=set)
    numbers: set[Any] = field(default_factory=set)
    number_texts: set[str] = field(default_factory=set)
    traced: list[Test] = field(default_factory=list)
    traces: set[Trait] = field(default_factory=set)
    tests: list[Test] = field(default_factory=list)
    wildcards: list[tuple[Wildcard, ...]] = field(default_factory=list)
    # Whether numbers are compared, and whether some value is excluded.
    numeric: bool = False
    excluding: bool = False
    present: bool = False
    absent: bool = False

    def add(self, matcher: Any) -> None:
        if isinstance(matcher, str):
            self._add_text(matcher)
        elif matcher is None or isinstance(matcher, bool):
            self.constants.add(matcher)
        elif _is_number(matcher):
            self._add_number(matcher)
        else:
            pairs = pairs_of(matcher)
            if pairs is None:
                self.refuse("a string, number, true, false, null or a match object", matcher)
            if len(pairs) != 1:
                self.refuse("a match object with one key", matcher)
            operator, operand = pairs[0]
            if operator not in self.dialect.operators:
                self.refuse(f"one of the operators {_listed(self.dialect.operators)}", operator)
            _OPERATORS[operator](self, operand)

    def refuse(self, expected: str, found: Any) -> NoReturn:
        refuse(self.path, expected, found, self.dialect)

    def text_operand(self, operator: str, operand: Any) -> str:
        if not isinstance(operand, str):
            self.refuse(f"{operator} with a string", operand)
        return operand

    def _add_text(self, wanted: str) -> None:
        address = strings.address(wanted)
        if address is None:
            self.texts.add(wanted)
        else:
            self.addresses.add(address)

    def _add_number(self, wanted: Any) -> None:
        number = self.dialect.number(wanted)
        if number is None:
            self.number_texts.add(text(wanted))
        else:
            self.numeric = True
            self.numbers.add(number)

    def leaf(self, source: Sequence[Any]) -> Leaf:
        return Leaf(
            test=self._test(),
            absent=self.absent,
            traits=self._traits(),
            source=tuple(_plain(matcher) for matcher in source),
            wildcards=tuple(self.wildcards),
        )

    def _traits(self) -> frozenset[Trait] | None:
        numbered = self.numbers and self.dialect.number is not exact_double
        if self.present or numbered or any((self.addresses, self.blocks, self.number_texts, self.tests)):
            return None
        kinds: dict[TraitKind, set[Any]] = {
            "text": self.texts,
            "prefix": self.prefixes,
            "suffix": self.suffixes,
            "number": self.numbers,
            "constant": self.constants,
        }
        return frozenset((kind, value) for kind, values in kinds.items() for value in values) | self.traces

    def _test(self) -> Test:
        if self.present:
            return _anything
        test = _either(self._parts())
        if not (self.addresses or self.blocks) or (self.numeric and self.dialect.reads_numbers_or_addresses):
            # The services read a value as a number or as an address, and where a field's matchers ask for both,
            # as a number: then no address matches (P9).
            return test
        # An address is then no text any more: no affix sees it, and it differs from every excluded text (P9).
        written = _number_text if self.dialect.reads_numbers_or_addresses else _no_text
        return strings.by_address(self.addresses, self.blocks, test, otherwise=self.excluding, written=written)

    def _parts(self) -> list[Test]:
        parts: list[Test] = []
        if self.texts:
            parts.append(frozenset(self.texts).__contains__)
        if self.prefixes:
            parts.append(strings.starts_with(self.prefixes))
        if self.suffixes:
            parts.append(strings.ends_with(self.suffixes))
        if self.constants:
            parts.append(_is_constant(self.constants))
        if self.numbers or self.number_texts:
            parts.append(_is_number_among(self.numbers, self.number_texts, self.dialect))
        return parts + self.traced + self.tests


def compile_leaf(matchers: Sequence[Any], path: str, dialect: Dialect) -> Leaf:
    """Compile the matchers at `path`; raises `InvalidPattern`."""
    if not matchers:
        refuse(path, "at least one matcher in the list", matchers, dialect)
    alternatives = _Alternatives(path, dialect)
    for matcher in matchers:
        alternatives.add(matcher)
    return alternatives.leaf(matchers)


def _prefix(alternatives: _Alternatives, operand: Any) -> None:
    folded = _ignoring_case(alternatives, "prefix", operand)
    if folded is None:
        alternatives.prefixes.add(alternatives.text_operand("prefix", operand))
    else:
        alternatives.tests.append(strings.starts_with_ignoring_case(folded))


def _suffix(alternatives: _Alternatives, operand: Any) -> None:
    folded = _ignoring_case(alternatives, "suffix", operand)
    if folded is None:
        alternatives.suffixes.add(alternatives.text_operand("suffix", operand))
    else:
        alternatives.tests.append(strings.ends_with_ignoring_case(folded))


def _ignoring_case(alternatives: _Alternatives, operator: str, operand: Any) -> str | None:
    pairs = pairs_of(operand)
    if pairs is None:
        return None
    if not alternatives.dialect.affixes_ignore_case:
        alternatives.refuse(f"{operator} with a string", operand)
    if len(pairs) != 1 or pairs[0][0] != "equals-ignore-case":
        alternatives.refuse(f'{operator} with a string or {{"equals-ignore-case": string}}', operand)
    return alternatives.text_operand("equals-ignore-case", pairs[0][1])


def _equals_ignore_case(alternatives: _Alternatives, operand: Any) -> None:
    wanted = alternatives.text_operand("equals-ignore-case", operand)
    if wanted.isascii():
        alternatives.traced.append(strings.equals_ignoring_case(wanted))
        alternatives.traces.add(("folded", wanted.lower()))
    else:
        alternatives.tests.append(strings.equals_ignoring_case(wanted))


def _wildcard(alternatives: _Alternatives, operand: Any) -> None:
    stretches = _stretches(alternatives, operand)
    alternatives.wildcards.append((tuple(stretches),))
    alternatives.traced.append(strings.like(stretches))
    head, tail = stretches[0], stretches[-1]
    alternatives.traces.add(("suffix", tail) if tail and not head else ("prefix", head))


def _stretches(alternatives: _Alternatives, operand: Any) -> list[str]:
    pattern = alternatives.text_operand("wildcard", operand)
    try:
        stretches = strings.split_wildcard(pattern)
    except ValueError as error:
        alternatives.refuse(f"in a wildcard, {error}", pattern)
    most = alternatives.dialect.wildcard_partial_matches_max
    if most is not None and strings.partial_matches(stretches) > most:
        alternatives.refuse("a wildcard with fewer stars, or fewer stars before one and the same character", pattern)
    return stretches


def _exactly(alternatives: _Alternatives, operand: Any) -> None:
    alternatives.texts.add(alternatives.text_operand("exactly", operand))


def _exists(alternatives: _Alternatives, operand: Any) -> None:
    if operand is True:
        alternatives.present = True
    elif operand is False:
        alternatives.absent = True
    else:
        alternatives.refuse("exists with true or false", operand)


def _cidr(alternatives: _Alternatives, operand: Any) -> None:
    literal = alternatives.text_operand("cidr", operand)
    try:
        block = strings.network(literal)
    except ValueError as error:
        alternatives.refuse(f"in a cidr, {error}", literal)
    alternatives.blocks.append(block)


def _numeric(alternatives: _Alternatives, operand: Any) -> None:
    if not is_array(operand) or len(operand) not in (2, 4):
        alternatives.refuse("numeric with one comparison, or a lower and an upper bound", operand)
    alternatives.numeric = True
    first, bound = operand[0], _bound(alternatives, operand[1])
    if len(operand) == 2:
        if first == "=":
            alternatives.numbers.add(bound)
            return
        compare = _COMPARISONS.get(first) if isinstance(first, str) else None
        if compare is None:
            alternatives.refuse('numeric with one of "=", "<", "<=", ">", ">="', first)
        alternatives.tests.append(compare(alternatives.dialect.number, bound))
        return
    second, top = operand[2], _bound(alternatives, operand[3])
    if first not in (">", ">=") or second not in ("<", "<="):
        alternatives.refuse('a range from ">" or ">=" to "<" or "<="', operand)
    if not bound < top:
        alternatives.refuse("a range whose lower bound is below its upper bound", operand)
    alternatives.tests.append(_between(alternatives.dialect.number, bound, first == ">=", top, second == "<="))


def _bound(alternatives: _Alternatives, operand: Any) -> Any:
    if not _is_number(operand):
        alternatives.refuse("a number to compare with", operand)
    most = alternatives.dialect.operand_magnitude_max
    if most is not None and not -most <= operand <= most:
        alternatives.refuse(f"a number from {-most:g} to {most:g}", operand)
    number = alternatives.dialect.number(operand)
    if number is None:
        alternatives.refuse("a number that a double holds exactly", operand)
    return number


_Number = Callable[[Any], Any]
_COMPARISONS: dict[str, Callable[[_Number, Any], Test]] = {
    "<": lambda number, bound: lambda value: (n := number(value)) is not None and n < bound,
    "<=": lambda number, bound: lambda value: (n := number(value)) is not None and n <= bound,
    ">": lambda number, bound: lambda value: (n := number(value)) is not None and n > bound,
    ">=": lambda number, bound: lambda value: (n := number(value)) is not None and n >= bound,
}


def _between(number: _Number, bottom: Any, with_bottom: bool, top: Any, with_top: bool) -> Test:
    def matches(value: Any) -> bool:
        found = number(value)
        if found is None or not bottom <= found <= top:
            return False
        return (with_bottom or found != bottom) and (with_top or found != top)

    return matches


def _anything_but(alternatives: _Alternatives, operand: Any) -> None:
    pairs = pairs_of(operand)
    if pairs is not None:
        alternatives.excluding = True
        alternatives.tests.append(_anything_but_operator(alternatives, operand, pairs))
        return
    excluded = list(operand) if is_array(operand) else [operand]
    if excluded and all(isinstance(value, str) for value in excluded):
        alternatives.excluding = True
        texts = frozenset(excluded)
        alternatives.tests.append(lambda value: value not in texts)
    elif excluded and all(_is_number(value) for value in excluded):
        alternatives.numeric = alternatives.excluding = True
        numbers = frozenset(_bound(alternatives, value) for value in excluded)
        number = alternatives.dialect.number
        # No double is None, so what is no number passes.
        alternatives.tests.append(lambda value: number(value) not in numbers)
    else:
        alternatives.refuse("anything-but with strings only or with numbers only", operand)


def _anything_but_operator(alternatives: _Alternatives, operand: Any, pairs: Sequence[tuple[str, Any]]) -> Test:
    allowed = alternatives.dialect.anything_but
    if len(pairs) != 1 or pairs[0][0] not in allowed:
        inside = f", or one of {_listed(allowed)}" if allowed else ""
        alternatives.refuse(f"anything-but with strings or numbers{inside}", operand)
    operator, excluded = pairs[0]
    texts = list(excluded) if is_array(excluded) else [excluded]
    if not texts:
        alternatives.refuse(f"anything-but {operator} with at least one string", operand)
    for wanted in texts:
        alternatives.text_operand(f"anything-but {operator}", wanted)
        if operator in ("prefix", "suffix") and not wanted:
            alternatives.refuse(f"anything-but {operator} with a string that is not empty", operand)
    if operator == "prefix":
        unwanted = strings.starts_with(texts)
    elif operator == "suffix":
        unwanted = strings.ends_with(texts)
    elif operator == "wildcard":
        wildcards = [_stretches(alternatives, wanted) for wanted in texts]
        alternatives.wildcards.append(tuple(map(tuple, wildcards)))
        unwanted = _either([strings.like(stretches) for stretches in wildcards])
    else:
        unwanted = _either([strings.equals_ignoring_case(wanted) for wanted in texts])
    return lambda value: not unwanted(value)


_OPERATORS: dict[str, Callable[[_Alternatives, Any], None]] = {
    "anything-but": _anything_but,
    "cidr": _cidr,
    "equals-ignore-case": _equals_ignore_case,
    "exactly": _exactly,
    "exists": _exists,
    "numeric": _numeric,
    "prefix": _prefix,
    "suffix": _suffix,
    "wildcard": _wildcard,
}


def _number_text(value: Any) -> str | None:
    return text(value) if _is_number(value) else None


def _no_text(_value: Any) -> None:
    return None


def _anything(_value: Any) -> bool:
    return True


def _nothing(_value: Any) -> bool:
    return False


def _either(tests: Sequence[Test]) -> Test:
    if not tests:
        return _nothing
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, other = tests
        return lambda value: one(value) or other(value)
    every = tuple(tests)

    def matches(value: Any) -> bool:
        for test in every:  # noqa: SIM110 (a generator would cost more than the tests)
            if test(value):
                return True
        return False

    return matches


def _is_constant(wanted: set[bool | None]) -> Test:
    true, false, null = True in wanted, False in wanted, None in wanted
    # By identity: 1 == True, and 1 is not true (P2).
    return lambda value: (value is True and true) or (value is False and false) or (value is None and null)


def _is_number_among(numbers: set[Any], texts: set[str], dialect: Dialect) -> Test:
    wanted, written, number = frozenset(numbers), frozenset(texts), dialect.number
    if not written:
        return lambda value: number(value) in wanted

    def matches(value: Any) -> bool:
        found = number(value)
        if found is not None:
            return found in wanted
        return _is_number(value) and text(value) in written

    return matches


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
