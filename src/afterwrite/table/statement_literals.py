"""The values that are written in PartiQL statements, or are their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from afterwrite.core.values import AttributeValue, normalize_number
from afterwrite.errors import InvalidValue
from afterwrite.table import wording
from afterwrite.table.attribute_values import checked_value, scale_of
from afterwrite.table.statement_tokens import Tokens, malformed, unquoted

LITERALS: Final[Mapping[str, AttributeValue]] = {
    "TRUE": {"BOOL": True},
    "FALSE": {"BOOL": False},
    "NULL": {"NULL": True},
}
"""The words that are values."""

_DEPTH_MAX: Final = 100


class Literals:
    """Reads values from a statement's tokens; `taken` is how many parameters it has used."""

    def __init__(self, tokens: Tokens, parameters: Sequence[AttributeValue]) -> None:
        self._tokens = tokens
        self._parameters = parameters
        self.taken = 0
        self._depth = 0

    def value(self, place: str, *, is_item: bool = False) -> AttributeValue:
        """A literal or a parameter; numbers that break a rule are told of with `place`."""
        token = self._tokens.peek()
        if token.kind == "operator":
            self._depth += 1
            if self._depth > _DEPTH_MAX:
                raise malformed()
            value = self._built(place, is_item=is_item)
            self._depth -= 1
            return value
        if token.kind == "text":
            return {"S": unquoted(self._tokens.take())}
        if token.kind == "number":
            return self._number("", place)
        literal = self._tokens.accept_keyword(*LITERALS)
        if literal:
            return {**LITERALS[literal]}
        if token.kind == "name" and self._tokens.peek(1).text == "(":
            raise self._tokens.refusal(f"Unsupported data type: {token.text.lower()} under key root", token)
        raise malformed("Unexpected keyword" if token.kind == "name" else "Unexpected term")

    def _built(self, place: str, *, is_item: bool) -> AttributeValue:
        operator = self._tokens.accept("?", "-", "+", "[", "<<", "{")
        if operator == "?":
            return self._parameter()
        if operator in ("-", "+"):
            return self._number("-" if operator == "-" else "", place)
        if operator == "[":
            return {"L": self._elements("]", place)}
        if operator == "<<":
            return self._collection(place)
        if operator == "{":
            return {"M": self._members(place, is_item=is_item)}
        raise malformed("Unexpected term")

    def _parameter(self) -> AttributeValue:
        self.taken += 1
        if self.taken > len(self._parameters):
            return {"NULL": True}
        return self._parameters[self.taken - 1]

    def _number(self, sign: str, place: str) -> AttributeValue:
        token = self._tokens.take()
        if token.kind != "number":
            raise malformed("Unexpected term")
        if scale_of(token.text) is None:
            raise malformed()
        try:
            return {"N": normalize_number(sign + token.text.rstrip("."))}
        except InvalidValue as error:
            raise wording.invalid(f"{error} under {place}") from None

    def _elements(self, closing: str, place: str) -> list[AttributeValue]:
        found: list[AttributeValue] = []
        if self._tokens.accept(closing):
            return found
        found.append(self.value(f"{place}[0]"))
        while self._tokens.accept(","):
            found.append(self.value(f"{place}[{len(found)}]"))
        self._tokens.expect(closing)
        return found

    def _collection(self, place: str) -> AttributeValue:
        members = self._elements(">>", place)
        if not members:
            raise wording.invalid("Empty bags are not supported")
        kinds = {kind for member in members for kind in member}
        kind = kinds.pop()
        if kinds or kind not in ("S", "N", "B"):
            raise wording.invalid("Bags must have members of one type, which is a string, a number or binary")
        contents = [member[kind] for member in members]
        if len(set(contents)) != len(contents):
            raise wording.invalid_parameter(f"Input collection [{', '.join(contents)}] contains duplicates.")
        return checked_value({f"{kind}S": contents})

    def _members(self, place: str, *, is_item: bool) -> dict[str, AttributeValue]:
        found: dict[str, AttributeValue] = {}
        if self._tokens.accept("}"):
            return found
        while True:
            token = self._tokens.take()
            if token.kind not in ("text", "quoted", "name"):
                raise malformed("Unexpected token")
            name = token.text if token.kind == "name" else unquoted(token)
            self._tokens.expect(":")
            found[name] = self.value(place if is_item else f"{place}.{name}")
            if not self._tokens.accept(","):
                self._tokens.expect("}")
                return found
