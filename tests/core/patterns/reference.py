"""A slow matcher, written straight from P1 to P10, to hold the compiled one against."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

Chain = dict[int, int]
Field = tuple[str, Any, Chain]


def slow_matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    fields = list(_flatten(event, (), {}, iter(range(10**9))))
    return any(_satisfiable(sorted(branch.items()), fields, {}) for branch in _branches(pattern))


def slow_leaf(matchers: list[Any], value: Any) -> bool:
    numeric = any(map(_compares_numbers, matchers))
    by_address = [matcher for matcher in matchers if _compares_addresses(matcher)]
    if numeric or not by_address or not isinstance(value, str) or _address(value) is None:
        return any(_one(matcher, value) for matcher in matchers if not (numeric and matcher in by_address))
    # Read as an address, the value is no text any more: it differs from every excluded one, and no affix sees it.
    seen_by = [m for m in matchers if m in by_address or (isinstance(m, dict) and "exists" in m)]
    excluding = any(isinstance(matcher, dict) and "anything-but" in matcher for matcher in matchers)
    return excluding or any(_one(matcher, value) for matcher in seen_by)


def _compares_numbers(matcher: Any) -> bool:
    if not isinstance(matcher, dict):
        return _is_number(matcher)
    excluded = matcher.get("anything-but")
    return "numeric" in matcher or any(map(_is_number, excluded if isinstance(excluded, list) else [excluded]))


def _compares_addresses(matcher: Any) -> bool:
    return (
        "cidr" in matcher if isinstance(matcher, dict) else isinstance(matcher, str) and _address(matcher) is not None
    )


def _branches(pattern: Mapping[str, Any]) -> list[dict[str, list[Any]]]:
    def walk(branches: list[dict[str, Any]], steps: tuple[str, ...], fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        for name, value in fields.items():
            if name == "$or":
                branches = [
                    extended
                    for alternative in value
                    for extended in walk([dict(branch) for branch in branches], steps, alternative)
                ]
            elif isinstance(value, Mapping):
                branches = walk(branches, (*steps, name), value)
            else:
                branches = [branch | {".".join((*steps, name)): value} for branch in branches]
        return branches

    return walk([{}], (), pattern)


def _flatten(value: Any, steps: tuple[str, ...], chain: Chain, numbers: Iterator[int]) -> Iterator[Field]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flatten(inner, (*steps, name), chain, numbers)
    elif isinstance(value, list):
        array = next(numbers)
        for index, element in enumerate(value):
            inside = chain | {array: index} if isinstance(element, Mapping | list) else chain
            yield from _flatten(element, steps, inside, numbers)
    else:
        yield ".".join(steps), value, chain


def _satisfiable(conditions: list[tuple[str, list[Any]]], fields: list[Field], chosen: Chain) -> bool:
    if not conditions:
        return True
    (path, matchers), *rest = conditions
    seen = [
        (value, chain)
        for at, value, chain in fields
        if at == path and all(chosen.get(array, index) == index for array, index in chain.items())
    ]
    if not seen and {"exists": False} in matchers and _satisfiable(rest, fields, chosen):
        return True
    return any(slow_leaf(matchers, value) and _satisfiable(rest, fields, chosen | chain) for value, chain in seen)


def _one(matcher: Any, value: Any) -> bool:
    if isinstance(matcher, dict):
        ((operator, operand),) = matcher.items()
        return _operator(operator, operand, value)
    if isinstance(matcher, bool) or matcher is None:
        return value is matcher
    if isinstance(matcher, str):
        return isinstance(value, str) and (value == matcher or _same_address(value, matcher))
    return _is_number(value) and value == matcher


def _operator(operator: str, operand: Any, value: Any) -> bool:
    if operator == "exists":
        return bool(operand)
    if operator == "anything-but":
        return not _excluded(operand, value)
    if operator == "numeric":
        compared = list(zip(operand[::2], operand[1::2], strict=True))
        return _is_number(value) and all(_COMPARE[sign](value, bound) for sign, bound in compared)
    if operator == "cidr":
        return _lies_in(value, ip_network(operand, strict=False))
    if not isinstance(value, str):
        return False
    if operator == "wildcard":
        return re.fullmatch(".*".join(map(re.escape, operand.split("*"))), value, re.DOTALL) is not None
    if operator == "equals-ignore-case":
        return _same_but_case(operand, value)
    if isinstance(operand, dict):
        operand = operand["equals-ignore-case"]
        part = value[: len(operand)] if operator == "prefix" else value[len(value) - len(operand) :]
        return len(value) >= len(operand) and _same_but_case(operand, part)
    return value.startswith(operand) if operator == "prefix" else value.endswith(operand)


def _excluded(operand: Any, value: Any) -> bool:
    if isinstance(operand, dict):
        ((operator, inner),) = operand.items()
        return any(_operator(operator, one, value) for one in (inner if isinstance(inner, list) else [inner]))
    listed = operand if isinstance(operand, list) else [operand]
    return any(
        isinstance(value, str) == isinstance(one, str) and not isinstance(value, bool) and value == one
        for one in listed
    )


_COMPARE = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same_but_case(wanted: str, value: str) -> bool:
    return len(wanted) == len(value) and all(b in (a.lower(), a.upper()) for a, b in zip(wanted, value, strict=True))


def _address(value: str) -> Any:
    try:
        return ip_address(value)
    except ValueError:
        return None


def _lies_in(value: Any, block: Any) -> bool:
    lowest, highest = block.network_address.packed.hex().upper(), block.broadcast_address.packed.hex().upper()
    if isinstance(value, str):
        address = _address(value)
        digits = "" if address is None else address.packed.hex().upper()
    else:
        digits = str(value) if _is_number(value) else ""
    above, below = False, False
    for digit, low, high in zip(digits, lowest, highest, strict=False):
        if (digit < low and not above) or (digit > high and not below):
            return False
        above, below = above or digit > low, below or digit < high
        if above and below:
            return True
    return len(digits) >= len(lowest)


def _same_address(value: str, wanted: str) -> bool:
    return _address(wanted) is not None and _address(value) == _address(wanted)
