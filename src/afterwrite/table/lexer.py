"""Expression text -> tokens, and the reader that the grammars consume them through."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from afterwrite.errors import ServiceError
from afterwrite.table import wording

EXPRESSION_BYTES_MAX = 4096

_TOLD_THEIR_SIZE = frozenset(("ConditionExpression", "FilterExpression"))

# Names (which start with a letter), placeholders, list indexes, operators. Anything else that is not space becomes
# a token of its own, which no grammar accepts, so that it is reported like every other unexpected token.
_TOKEN = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<name_placeholder>#[A-Za-z0-9_]+)"
    r"|(?P<value_placeholder>:[A-Za-z0-9_]+)"
    r"|(?P<number>[0-9]+)"
    r"|(?P<operator><>|<=|>=|[=<>()\[\].,+-])"
    r"|(?P<unknown>\S)"
)


class Token(NamedTuple):
    """A token: its kind (a group of the token pattern, or `end`), its text, and where it stands in the source."""

    kind: str
    text: str
    start: int
    stop: int


class TokenReader:
    """Reads the tokens of one expression. `label` is the request field the expression came in."""

    def __init__(self, label: str, source: str) -> None:
        if not source:
            raise invalid_expression(label, "The expression can not be empty;")
        size = len(source.encode())
        if size > EXPRESSION_BYTES_MAX:
            shown = f" expression size: {size}" if label in _TOLD_THEIR_SIZE else ""
            raise invalid_expression(label, f"Expression size has exceeded the maximum allowed size;{shown}")
        self.label = label
        self._source = source
        self._tokens = [
            Token(match.lastgroup or "", match.group(), match.start(), match.end()) for match in _TOKEN.finditer(source)
        ]
        self._tokens.append(Token("end", "<EOF>", len(source), len(source)))
        self._at = 0

    @property
    def position(self) -> int:
        """How many tokens have been consumed."""
        return self._at

    def peek(self, ahead: int = 0) -> Token:
        """The token `ahead` places on, not consumed."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Consume the next token."""
        token = self.peek()
        self._at += 1
        return token

    def accept(self, operator: str) -> bool:
        """Consume the next token if it is this operator."""
        token = self.peek()
        if token.kind == "operator" and token.text == operator:
            self._at += 1
            return True
        return False

    def expect(self, operator: str) -> None:
        """Consume this operator, or fail."""
        if not self.accept(operator):
            self.fail()

    def keyword(self) -> str:
        """The next token as an upper-case keyword; empty where it is no name."""
        token = self.peek()
        return token.text.upper() if token.kind == "name" else ""

    def accept_keyword(self, keyword: str) -> bool:
        """Consume the next token if it is this keyword, in any case."""
        if self.keyword() == keyword:
            self._at += 1
            return True
        return False

    def end(self) -> None:
        """Fail unless everything is consumed."""
        if self.peek().kind != "end":
            self.fail()

    def fail(self) -> NoReturn:
        """Report the next token as the one that does not fit."""
        token = self.peek()
        before = self._tokens[max(self._at - 1, 0)]
        after = self.peek(1)
        near = self._source[before.start : after.stop].strip() or self._source
        raise invalid_expression(self.label, f'Syntax error; token: "{token.text}", near: "{near}"')

    def refuse(self, message: str) -> NoReturn:
        """Report what is well formed and still not allowed."""
        raise invalid_expression(self.label, message)


def invalid_expression(label: str, message: str) -> ServiceError:
    """DynamoDB's error about an expression; what stands in a statement has no label."""
    return wording.invalid(f"Invalid {label}: {message}" if label else message)
