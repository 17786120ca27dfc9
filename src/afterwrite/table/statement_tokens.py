"""PartiQL text -> tokens, and the reader that the grammar consumes them through."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from afterwrite.errors import ServiceError
from afterwrite.table import wording

_TOKEN: Final = re.compile(
    r"(?P<space>\s+|--[^\r\n]*|/\*.*?\*/)"
    r"|(?P<text>'(?:[^']|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")*")'
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)"
    r"|(?P<operator><<|>>|<>|!=|<=|>=|[-+*(){}\[\].,:;?=<>])",
    re.DOTALL,
)


class Token(NamedTuple):
    """A token: its kind (a group of the token pattern, or `end`), its text, and where it starts in the source."""

    kind: str
    text: str
    start: int


class Tokens:
    """Reads the tokens of one statement. Raises ServiceError for text that has none."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens: list[Token] = []
        self._at = 0
        start = 0
        while start < len(source):
            match = _TOKEN.match(source, start)
            if match is None:
                raise malformed()
            if match.lastgroup != "space":
                self._tokens.append(Token(str(match.lastgroup), match.group(), start))
            start = match.end()
        self._tokens.append(Token("end", "", len(source)))

    def peek(self, ahead: int = 0) -> Token:
        """The token `ahead` places on, not consumed."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Consume the next token."""
        token = self.peek()
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def accept(self, *operators: str) -> str:
        """Consume the next token if it is one of the operators; the operator, or an empty text."""
        token = self.peek()
        return self.take().text if token.kind == "operator" and token.text in operators else ""

    def expect(self, operator: str) -> None:
        """Consume this operator, or fail."""
        if not self.accept(operator):
            raise malformed("Unexpected token")

    def keyword(self) -> str:
        """The next token as an upper-case keyword; empty where it is no name."""
        token = self.peek()
        return token.text.upper() if token.kind == "name" else ""

    def accept_keyword(self, *keywords: str) -> str:
        """Consume the next token if it is one of the keywords, in any case; the keyword, or an empty text."""
        found = self.keyword()
        if found not in keywords:
            return ""
        self.take()
        return found

    def expect_keyword(self, *keywords: str) -> str:
        """Consume one of the keywords, or fail."""
        found = self.accept_keyword(*keywords)
        if not found:
            raise malformed("Unexpected keyword" if self.peek().kind == "name" else "Unexpected token")
        return found

    def place(self, token: Token) -> str:
        """Where a token stands, as messages tell it: line, column and length."""
        before = self._source[: token.start]
        return f"{before.count(chr(10)) + 1}:{token.start - before.rfind(chr(10))}:{len(token.text)}"

    def refusal(self, message: str, token: Token) -> ServiceError:
        """The error of a token, with where it stands."""
        return wording.invalid(f"{message} at {self.place(token)}")


def unquoted(token: Token) -> str:
    """The text between a token's quotes."""
    quote = token.text[0]
    return token.text[1:-1].replace(quote * 2, quote)


def malformed(detail: str = "") -> ServiceError:
    """The error of a statement that cannot be read."""
    return wording.invalid(f"Statement wasn't well formed, can't be processed: {detail}")
