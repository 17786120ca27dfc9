"""The expression grammars, by recursive descent: tokens -> tree.

What a grammar checks needs neither names nor values: syntax, function names, redundant parentheses, reserved
words, and that a function stands where it may.
"""

from __future__ import annotations

from typing import get_args

from afterwrite.table.lexer import TokenReader
from afterwrite.table.reserved_words import RESERVED_WORDS
from afterwrite.table.syntax_tree import (
    Action,
    AddAction,
    And,
    Arithmetic,
    Between,
    Comparison,
    Condition,
    DeleteAction,
    FunctionCall,
    In,
    Not,
    Operand,
    Or,
    Path,
    RemoveAction,
    SetAction,
    ValuePlaceholder,
)

COMPARATORS = frozenset(("=", "<>", "<", "<=", ">", ">="))
CONDITION_FUNCTIONS = frozenset(
    ("attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains", "size")
)
UPDATE_FUNCTIONS = frozenset(("if_not_exists", "list_append"))
OPERATORS_MAX = 300
# As deep as half the operators that an expression may have, each in parentheses of its own; five calls of the parser
# a level stay well within Python's own limit.
PARSE_DEPTH_MAX = 150

_CONDITION_KEYWORDS = frozenset(("AND", "OR", "NOT", "BETWEEN", "IN"))
_SECTIONS = ("SET", "REMOVE", "ADD", "DELETE")
_CONDITIONS = get_args(Condition)


class _Grammar:
    """What the grammars share: paths, operands, function calls."""

    keywords: frozenset[str]
    functions: frozenset[str]

    def __init__(self, label: str, source: str) -> None:
        self.reader = TokenReader(label, source)
        self.operators = 0
        self.depth = 0
        # DynamoDB reports these only for text without a syntax error.
        self.redundant_parentheses = False
        self.last_group = (-1, -1)
        self.unknown_function: str | None = None
        self.misused_function: str | None = None
        self.reserved_word: str | None = None
        self.repeated_section: str | None = None

    def finish(self) -> None:
        """Fail unless all is read, and report what was noticed on the way."""
        reader = self.reader
        reader.end()
        for complaint in self.complaints():
            if complaint:
                reader.refuse(complaint)
        if self.operators > OPERATORS_MAX:
            reader.refuse(
                "The expression contains too many operators; "
                f"operator count: {self.operators}, operator limit: {OPERATORS_MAX}"
            )

    def complaints(self) -> tuple[str, ...]:
        """What was noticed, in the order in which DynamoDB reports it; empty text where it was fine."""
        raise NotImplementedError

    def reserved_complaint(self) -> str:
        """The complaint about a reserved word among the names."""
        if not self.reserved_word:
            return ""
        return f"Attribute name is a reserved keyword; reserved keyword: {self.reserved_word}"

    def function_complaint(self) -> str:
        """The complaint about a function that does not exist, or only in expressions of the other kind."""
        name = self.unknown_function
        if name in UPDATE_FUNCTIONS:
            return f"The function is not allowed in a condition expression; function: {name}"
        if name in CONDITION_FUNCTIONS:
            return f"The function is not allowed in an update expression; function: {name}"
        return f"Invalid function name; function: {name}" if name else ""

    def path(self) -> Path:
        """A document path."""
        parts: list[str | int] = [self.path_name()]
        while True:
            if self.reader.accept("."):
                parts.append(self.path_name())
            elif self.reader.accept("["):
                if self.reader.peek().kind != "number":
                    self.reader.fail()
                parts.append(int(self.reader.take().text))
                self.reader.expect("]")
            else:
                return Path(tuple(parts))

    def path_name(self) -> str:
        """One name of a path, or its placeholder."""
        token = self.reader.peek()
        if token.kind == "name":
            if token.text.upper() in self.keywords:
                self.reader.fail()
            if token.text.upper() in RESERVED_WORDS and self.reserved_word is None:
                self.reserved_word = token.text
        elif token.kind != "name_placeholder":
            self.reader.fail()
        return self.reader.take().text

    def operand(self) -> Operand:
        """A value, a function call, a path, or one of them in parentheses."""
        reader = self.reader
        if reader.peek().text == "(":
            opened_at = self.open()
            operand = self.operand()
            self.close(opened_at)
            return operand
        token = reader.peek()
        if token.kind == "value_placeholder":
            return ValuePlaceholder(reader.take().text)
        if token.kind == "name" and reader.peek(1).text == "(" and token.text.upper() not in self.keywords:
            return self.function()
        return self.path()

    def function(self) -> FunctionCall:
        """A call of a function."""
        name = self.reader.take().text
        self.operators += 1
        if name not in self.functions and self.unknown_function is None:
            self.unknown_function = name
        self.reader.expect("(")
        self.enter()
        arguments = [self.operand()]
        while self.reader.accept(","):
            arguments.append(self.operand())
        self.reader.expect(")")
        self.depth -= 1
        self.check_nested(*arguments)
        return FunctionCall(name, tuple(arguments))

    def check_nested(self, *operands: Operand) -> None:
        """Note a function that stands as an operand although it is a condition."""
        raise NotImplementedError

    def open(self) -> int:
        """Consume a parenthesis that groups; returns its position, for `close`."""
        opened_at = self.reader.position
        self.reader.expect("(")
        self.enter()
        return opened_at

    def close(self, opened_at: int) -> None:
        """Consume the parenthesis that ends a group, and notice a group that holds nothing but a group."""
        closed_at = self.reader.position
        self.reader.expect(")")
        self.depth -= 1
        if self.last_group == (opened_at + 1, closed_at - 1):
            self.redundant_parentheses = True
        self.last_group = (opened_at, closed_at)

    def enter(self) -> None:
        """Count a level of nesting; Python's own stack must not be what limits it."""
        self.depth += 1
        if self.depth > PARSE_DEPTH_MAX:
            self.reader.refuse(f"The expression is nested too deeply; level limit: {PARSE_DEPTH_MAX}")


class ConditionGrammar(_Grammar):
    """ConditionExpression, FilterExpression and KeyConditionExpression."""

    keywords = _CONDITION_KEYWORDS
    functions = CONDITION_FUNCTIONS

    def complaints(self) -> tuple[str, ...]:
        """Redundant parentheses first, reserved words last."""
        return (
            "The expression has redundant parentheses;" if self.redundant_parentheses else "",
            self.function_complaint(),
            f"The function is not allowed to be used this way in an expression; function: {self.misused_function}"
            if self.misused_function
            else "",
            self.reserved_complaint(),
        )

    def parse(self) -> Condition:
        """The tree of the whole text."""
        condition = self.condition(self.disjunction())
        self.finish()
        return condition

    def disjunction(self) -> Condition | Operand:
        """Conditions joined by OR, or what stands alone."""
        first = self.conjunction()
        if self.reader.keyword() != "OR":
            return first
        conditions = [self.condition(first)]
        while self.reader.accept_keyword("OR"):
            self.operators += 1
            conditions.append(self.condition(self.conjunction()))
        return Or(tuple(conditions))

    def conjunction(self) -> Condition | Operand:
        """Conditions joined by AND, or what stands alone."""
        first = self.negation()
        if self.reader.keyword() != "AND":
            return first
        conditions = [self.condition(first)]
        while self.reader.accept_keyword("AND"):
            self.operators += 1
            conditions.append(self.condition(self.negation()))
        return And(tuple(conditions))

    def negation(self) -> Condition | Operand:
        """A condition behind any number of NOTs, or what stands alone."""
        if not self.reader.accept_keyword("NOT"):
            return self.comparison()
        self.operators += 1
        self.enter()
        condition = Not(self.condition(self.negation()))
        self.depth -= 1
        return condition

    def comparison(self) -> Condition | Operand:
        """A parenthesis may hold a condition or an operand; only what follows it tells which was meant."""
        left = self.parenthesised() if self.reader.peek().text == "(" else self.operand()
        token = self.reader.peek()
        if token.text in COMPARATORS:
            operand = self.comparable(left)
            self.reader.take()
            self.operators += 1
            right = self.operand()
            self.check_nested(operand, right)
            return Comparison(token.text, operand, right)
        if self.reader.keyword() == "BETWEEN":
            operand = self.comparable(left)
            self.reader.take()
            self.operators += 1
            low = self.operand()
            if not self.reader.accept_keyword("AND"):
                self.reader.fail()
            high = self.operand()
            self.check_nested(operand, low, high)
            return Between(operand, low, high)
        if self.reader.keyword() == "IN":
            operand = self.comparable(left)
            self.reader.take()
            self.operators += 1
            return In(operand, self.choices(operand))
        return left

    def choices(self, operand: Operand) -> tuple[Operand, ...]:
        """The operands in the parentheses of IN."""
        self.reader.expect("(")
        choices = [self.operand()]
        while self.reader.accept(","):
            choices.append(self.operand())
        self.reader.expect(")")
        self.check_nested(operand, *choices)
        return tuple(choices)

    def parenthesised(self) -> Condition | Operand:
        """What a grouping parenthesis holds."""
        opened_at = self.open()
        inner = self.disjunction()
        self.close(opened_at)
        return inner

    def condition(self, node: Condition | Operand) -> Condition:
        """`node`, if it is a condition."""
        if isinstance(node, FunctionCall):
            if node.name == "size" and self.misused_function is None:
                self.misused_function = node.name
            return node
        if not isinstance(node, _CONDITIONS):
            self.reader.fail()
        return node  # type: ignore[no-any-return]

    def comparable(self, node: Condition | Operand) -> Operand:
        """`node`, if it can stand beside a comparator."""
        if not isinstance(node, Path | ValuePlaceholder | FunctionCall):
            self.reader.fail()
        return node

    def check_nested(self, *operands: Operand) -> None:
        """Note a condition's function that stands as an operand; only `size` may."""
        for operand in operands:
            if isinstance(operand, FunctionCall) and operand.name != "size" and self.misused_function is None:
                self.misused_function = operand.name


class UpdateGrammar(_Grammar):
    """UpdateExpression."""

    keywords = frozenset(_SECTIONS)
    functions = UPDATE_FUNCTIONS

    def complaints(self) -> tuple[str, ...]:
        """Reserved words first, repeated sections last."""
        return (
            self.reserved_complaint(),
            self.function_complaint(),
            f"The function is not allowed to be used this way in an expression; function: {self.misused_function}"
            if self.misused_function
            else "",
            f'The "{self.repeated_section}" section can only be used once in an update expression;'
            if self.repeated_section
            else "",
        )

    def parse(self) -> tuple[Action, ...]:
        """The actions of the whole text, in its order."""
        actions: list[Action] = []
        seen: set[str] = set()
        while True:
            section = self.reader.keyword()
            if section not in _SECTIONS:
                self.reader.fail()
            self.reader.take()
            if section in seen and self.repeated_section is None:
                self.repeated_section = section
            seen.add(section)
            actions.append(self.action(section))
            while self.reader.accept(","):
                actions.append(self.action(section))
            if self.reader.peek().kind == "end":
                break
        self.finish()
        return tuple(actions)

    def action(self, section: str) -> Action:
        """One action of a section."""
        path = self.path()
        self.operators += 1
        if section == "SET":
            self.reader.expect("=")
            return SetAction(path, self.value())
        if section == "REMOVE":
            return RemoveAction(path)
        if self.reader.peek().kind != "value_placeholder":
            self.reader.fail()
        value = ValuePlaceholder(self.reader.take().text)
        return AddAction(path, value) if section == "ADD" else DeleteAction(path, value)

    def value(self) -> Operand:
        """What a SET assigns: an operand, or a sum or difference of two, in parentheses or not."""
        reader = self.reader
        if reader.peek().text == "(":
            opened_at = self.open()
            left = self.value()
            self.close(opened_at)
        else:
            left = self.operand()
        for operator in ("+", "-"):
            if reader.accept(operator):
                self.operators += 1
                if isinstance(left, Arithmetic):
                    reader.fail()
                return Arithmetic(operator, left, self.operand())
        return left

    def check_nested(self, *operands: Operand) -> None:
        """Note a list_append within another function; if_not_exists nests freely."""
        for operand in operands:
            if isinstance(operand, FunctionCall) and operand.name == "list_append" and self.misused_function is None:
                self.misused_function = operand.name


class ProjectionGrammar(_Grammar):
    """ProjectionExpression."""

    keywords = frozenset()
    functions = frozenset()

    def complaints(self) -> tuple[str, ...]:
        """Only names can be wrong."""
        return (self.reserved_complaint(),)

    def parse(self) -> tuple[Path, ...]:
        """The paths of the whole text, in its order."""
        paths = [self.path()]
        while self.reader.accept(","):
            paths.append(self.path())
        self.finish()
        return tuple(paths)

    def check_nested(self, *operands: Operand) -> None:
        """A projection has no operands."""
