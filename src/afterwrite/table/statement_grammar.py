"""The grammar of PartiQL statements, by recursive descent: text and parameters -> tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from afterwrite.core.values import AttributeValue, Item
from afterwrite.errors import ServiceError
from afterwrite.table import statement_tree as statements
from afterwrite.table import syntax_tree as tree
from afterwrite.table import wording
from afterwrite.table.attribute_values import checked_item, checked_value
from afterwrite.table.conditions import bind_condition
from afterwrite.table.fields import checked_table_name
from afterwrite.table.grammar import CONDITION_FUNCTIONS
from afterwrite.table.paths import Names
from afterwrite.table.statement_literals import LITERALS, Literals
from afterwrite.table.statement_tokens import Tokens, malformed, unquoted

_DEPTH_MAX: Final = 100
_COMPARATORS: Final = ("=", "<>", "!=", "<", "<=", ">", ">=")
_SET_FUNCTIONS: Final[Mapping[str, type[tree.AddAction | tree.DeleteAction]]] = {
    "set_add": tree.AddAction,
    "set_delete": tree.DeleteAction,
}
_VALUE_FUNCTIONS: Final = ("list_append", "if_not_exists")
_NO_NAMES: Final = frozenset(
    ("SELECT", "FROM", "WHERE", "SET", "REMOVE", "RETURNING", "VALUE", "VALUES", "AND", "OR", "INTO", "ORDER", "INNER")
)
_OPERATORS: Final = frozenset(("IS", "LIKE", "IN", "BETWEEN", "AND", "OR"))
_CLAUSES: Final = frozenset(("WHERE", "ORDER", "SET", "REMOVE", "RETURNING", "VALUE"))
_TYPES: Final[Mapping[str, str]] = {
    "STRING": "S",
    "INT": "N",
    "INT4": "N",
    "INT8": "N",
    "FLOAT": "N",
    "INTEGER": "N",
    "DECIMAL": "N",
    "NUMERIC": "N",
    "BOOL": "BOOL",
    "BOOLEAN": "BOOL",
    "BLOB": "B",
    "LIST": "L",
    "STRUCT": "M",
    "TUPLE": "M",
    "NULL": "NULL",
}
_RETURNED: Final[Mapping[tuple[str, str], str]] = {
    ("ALL", "OLD"): "ALL_OLD",
    ("ALL", "NEW"): "ALL_NEW",
    ("MODIFIED", "OLD"): "UPDATED_OLD",
    ("MODIFIED", "NEW"): "UPDATED_NEW",
}
_STEP_DIGITS_MAX: Final = 9
_BOOLEANS: Final = CONDITION_FUNCTIONS - {"size"}


def parse_statement(text: str, parameters: Sequence[Any] = ()) -> statements.Statement:
    """The statement, with its parameters. Raises ServiceError (ValidationException)."""
    return _Grammar(text, [checked_value(each) for each in parameters]).statement()


class _Grammar:
    def __init__(self, source: str, parameters: Sequence[AttributeValue]) -> None:
        self.tokens = Tokens(source)
        self.names: dict[str, str] = {}
        self.values: dict[str, AttributeValue] = {}
        self.parameters = parameters
        self.literals = Literals(self.tokens, parameters)
        self.depth = 0
        self.conditions: list[tree.Condition] = []
        self.refused_column: ServiceError | None = None

    def statement(self) -> statements.Statement:
        action = self.action()
        self.tokens.accept(";")
        if self.tokens.peek().kind != "end":
            raise malformed("Unexpected token after expression")
        if self.literals.taken != len(self.parameters):
            raise wording.invalid("Number of parameters in request and statement don't match.")
        self.check_operands()
        return statements.Statement(action, self.names, self.values)

    def check_operands(self) -> None:
        """Refuse a condition whose operands have types that no item could make right, whatever table it is for."""
        for condition in self.conditions:
            bind_condition(condition, Names("", self.names)).check(self.values)

    def action(self) -> statements.Action:
        kind = self.tokens.accept_keyword("SELECT", "INSERT", "UPDATE", "DELETE", "FROM", "EXISTS")
        if kind == "SELECT":
            return self.select()
        if kind == "INSERT":
            return self.insert()
        if kind == "UPDATE":
            return self.update()
        if kind == "DELETE":
            return self.delete()
        if kind == "FROM":
            return self.update_from()
        if not kind:
            raise malformed("Expected data manipulation")
        self.tokens.expect("(")
        self.tokens.expect_keyword("SELECT")
        select = self.select()
        self.tokens.expect(")")
        return statements.Exists(select)

    def select(self) -> statements.Select:
        paths = None if self.tokens.accept("*") else self.selected_paths()
        self.tokens.expect_keyword("FROM")
        table, *qualifiers = self.qualified_table("Unexpected term")
        if len(qualifiers) > 1:
            raise wording.invalid("A path may contain at most 2 components in the FROM clause")
        self.refuse_alias()
        where = self.where()
        index = qualifiers[0] if qualifiers else None
        return statements.Select(table, index, paths, where, self.order(), self.refused_column)

    def selected_paths(self) -> tuple[tree.Path, ...]:
        paths: list[tree.Path] = []
        while True:
            if self.tokens.peek().kind == "name" and self.tokens.peek(1).text == "(":
                self.skip_function()
            else:
                paths.append(self.path())
            if not self.tokens.accept(","):
                return tuple(paths)

    def skip_function(self) -> None:
        """Read over a function where a column is due, which is refused once it is known that the table is there."""
        function = self.tokens.take()
        self.refused_column = self.refused_column or self.tokens.refusal("Unexpected path component", function)
        depth = 0
        while True:
            token = self.tokens.take()
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if not depth:
                return
            if token.kind == "end":
                raise malformed("Unexpected token")

    def refuse_alias(self) -> None:
        token = self.tokens.peek()
        if token.kind == "quoted" or (token.kind == "name" and token.text.upper() not in _CLAUSES):
            raise wording.invalid("Aliasing is not supported")

    def where(self) -> tree.Condition | None:
        if not self.tokens.accept_keyword("WHERE"):
            return None
        if self.tokens.keyword() == "ORDER":
            raise malformed("Unexpected keyword")
        condition = self.condition()
        self.conditions.append(condition)
        return condition

    def order(self) -> tuple[tuple[str, bool], ...]:
        if not self.tokens.accept_keyword("ORDER"):
            return ()
        self.tokens.expect_keyword("BY")
        ordered = [self.ordered()]
        while self.tokens.accept(","):
            ordered.append(self.ordered())
        return tuple(ordered)

    def ordered(self) -> tuple[str, bool]:
        name = self.identifier()
        return name, self.tokens.accept_keyword("ASC", "DESC") != "DESC"

    def insert(self) -> statements.Insert:
        self.tokens.expect_keyword("INTO")
        table, *qualifiers = self.qualified_table("Expected identifier for simple path")
        if qualifiers:
            raise wording.invalid("FROM clause may only contain a single table name")
        if self.tokens.peek().kind in ("name", "quoted") and self.tokens.keyword() not in _NO_NAMES:
            raise malformed("Unexpected token after expression")
        if not self.tokens.accept_keyword("VALUE"):
            raise malformed("Unexpected keyword")
        value = self.literals.value("root", is_item=True)
        if "M" not in value:
            raise wording.invalid("Inserted value must be a map of attributes")
        item: Item = value["M"]
        return statements.Insert(table, checked_item(item))

    def update(self) -> statements.Update:
        table = self.written_table()
        if self.tokens.keyword() not in ("SET", "REMOVE"):
            if self.tokens.peek().kind in ("name", "quoted") and self.tokens.keyword() not in _CLAUSES:
                raise wording.invalid("Aliasing is not supported")
            raise malformed("Expected data manipulation")
        actions = self.actions()
        where = self.where()
        return statements.Update(table, actions, where, self.returning())

    def update_from(self) -> statements.Update:
        table = self.written_table()
        self.refuse_alias()
        where = self.where()
        if self.tokens.keyword() not in ("SET", "REMOVE"):
            raise malformed("Expected data manipulation")
        actions = self.actions()
        return statements.Update(table, actions, where, self.returning())

    def actions(self) -> tuple[tree.Action, ...]:
        actions: list[tree.Action] = []
        while clause := self.tokens.accept_keyword("SET", "REMOVE"):
            read = self.assignment if clause == "SET" else self.removal
            actions.append(read())
            while self.tokens.accept(","):
                actions.append(read())
        return tuple(actions)

    def assignment(self) -> tree.Action:
        path = self.path()
        self.tokens.expect("=")
        token = self.tokens.peek()
        name = token.text.lower()
        if token.kind == "name" and name in _SET_FUNCTIONS and self.tokens.peek(1).text == "(":
            return self.set_change(path, name)
        value = self.term()
        while operator := self.tokens.accept("+", "-"):
            value = tree.Arithmetic(operator, value, self.term())
        return tree.SetAction(path, value)

    def set_change(self, path: tree.Path, name: str) -> tree.Action:
        function = self.tokens.take()
        self.tokens.expect("(")
        first = self.tokens.peek()
        arguments = self.arguments(self.term)
        if len(arguments) != 2:
            raise self.tokens.refusal(f"{name.upper()} must have exactly two arguments", function)
        target, members = arguments
        if target != path:
            raise self.tokens.refusal(f"The first argument to {name.upper()} must equal the assignment value", function)
        if not isinstance(members, tree.ValuePlaceholder) or not {"SS", "NS", "BS"} & self.values[members.name].keys():
            raise self.tokens.refusal(f"The second argument to {name.upper()} must be a value with type SET", first)
        return _SET_FUNCTIONS[name](path, members)

    def removal(self) -> tree.Action:
        return tree.RemoveAction(self.path())

    def delete(self) -> statements.Delete:
        self.tokens.expect_keyword("FROM")
        table = self.written_table()
        self.refuse_alias()
        where = self.where()
        returning = self.returning()
        if returning not in ("NONE", "ALL_OLD"):
            which, when = returning.replace("UPDATED", "MODIFIED").split("_")
            raise wording.invalid(
                f"Invalid returning clause: RETURNING {which} {when} *. "
                "Only RETURNING ALL OLD * is allowed in DELETE statements."
            )
        return statements.Delete(table, where, returning)

    def returning(self) -> str:
        if not self.tokens.accept_keyword("RETURNING"):
            return "NONE"
        which = self.tokens.expect_keyword("ALL", "MODIFIED")
        when = self.tokens.expect_keyword("OLD", "NEW")
        self.tokens.expect("*")
        return _RETURNED[which, when]

    def condition(self) -> tree.Condition:
        self.descend()
        conditions = [self.conjunction()]
        while self.tokens.accept_keyword("OR"):
            self.expect_operand()
            conditions.append(self.conjunction())
        self.depth -= 1
        return conditions[0] if len(conditions) == 1 else tree.Or(tuple(conditions))

    def conjunction(self) -> tree.Condition:
        conditions = [self.negation()]
        while self.tokens.accept_keyword("AND"):
            self.expect_operand()
            conditions.append(self.negation())
        return conditions[0] if len(conditions) == 1 else tree.And(tuple(conditions))

    def expect_operand(self) -> None:
        token = self.tokens.peek()
        if token.kind == "end" or token.text in (";", ")"):
            raise malformed("Missing right-hand side expression of infix operator")

    def negation(self) -> tree.Condition:
        if not self.tokens.accept_keyword("NOT"):
            return self.test()
        self.descend()
        negated = tree.Not(self.negation())
        self.depth -= 1
        return negated

    def test(self) -> tree.Condition:
        if self.tokens.accept("("):
            inner = self.condition()
            self.tokens.expect(")")
            return inner
        token = self.tokens.peek()
        if token.kind == "name" and token.text.lower() in _BOOLEANS and self.tokens.peek(1).text == "(":
            return self.predicate()
        return self.comparison(self.operand())

    def predicate(self) -> tree.Condition:
        function = self.function()
        operator = self.tokens.accept("=", "<>", "!=")
        if not operator:
            return function
        expected = self.tokens.expect_keyword("TRUE", "FALSE")
        return function if (expected == "TRUE") == (operator == "=") else tree.Not(function)

    def comparison(self, left: tree.Operand) -> tree.Condition:
        operator = self.tokens.accept(*_COMPARATORS)
        if operator:
            return tree.Comparison("<>" if operator == "!=" else operator, left, self.operand())
        if self.tokens.accept_keyword("IS"):
            return self.kind_test(left)
        if self.tokens.accept_keyword("NOT"):
            return tree.Not(self.range_test(left))
        return self.range_test(left)

    def kind_test(self, operand: tree.Operand) -> tree.Condition:
        is_negated = bool(self.tokens.accept_keyword("NOT"))
        kind = self.tokens.accept_keyword("MISSING", *_TYPES)
        if not kind:
            raise malformed("Expected type name")
        test: tree.Condition
        if kind == "MISSING":
            return tree.FunctionCall("attribute_exists" if is_negated else "attribute_not_exists", (operand,))
        test = tree.FunctionCall("attribute_type", (operand, self.placeholder({"S": _TYPES[kind]})))
        return tree.Not(test) if is_negated else test

    def range_test(self, operand: tree.Operand) -> tree.Condition:
        kind = self.tokens.accept_keyword("BETWEEN", "IN")
        if kind == "BETWEEN":
            low = self.operand()
            self.tokens.expect_keyword("AND")
            return tree.Between(operand, low, self.operand())
        if not kind:
            raise malformed("Unexpected term")
        closing = {"[": "]", "(": ")"}.get(self.tokens.accept("[", "("))
        if closing is None:
            raise malformed("Unexpected term")
        choices = [self.operand()]
        while self.tokens.accept(","):
            choices.append(self.operand())
        self.tokens.expect(closing)
        return tree.In(operand, tuple(choices))

    def operand(self) -> tree.Operand:
        token = self.tokens.peek()
        if token.kind == "name" and self.tokens.peek(1).text == "(":
            if token.text.lower() not in CONDITION_FUNCTIONS:
                raise self.tokens.refusal(f"Unrecognized function: {token.text.lower()}", token)
            return self.function()
        return self.path_or_value()

    def term(self) -> tree.Operand:
        """An operand of a SET."""
        token = self.tokens.peek()
        if token.kind != "name" or self.tokens.peek(1).text != "(":
            return self.path_or_value()
        name = token.text.lower()
        if name not in _VALUE_FUNCTIONS:
            raise self.tokens.refusal(f"Unrecognized function: {name}", token)
        self.tokens.take()
        self.tokens.expect("(")
        self.descend()
        arguments = self.arguments(self.term)
        self.depth -= 1
        return tree.FunctionCall(name, arguments)

    def path_or_value(self) -> tree.Operand:
        token = self.tokens.peek()
        if token.kind == "name" and token.text.upper() in _OPERATORS:
            raise malformed("Unexpected operator")
        is_path = token.kind == "quoted" or (token.kind == "name" and token.text.upper() not in LITERALS)
        return self.path() if is_path else self.placeholder(self.literals.value("root"))

    def function(self) -> tree.FunctionCall:
        name = self.tokens.take().text.lower()
        self.tokens.expect("(")
        arguments = self.arguments(self.path_or_value)
        if not arguments:
            raise wording.invalid(
                "Incorrect number of operands for operator or function; "
                f"operator or function: {name}, number of operands: 0"
            )
        return tree.FunctionCall(name, arguments)

    def arguments(self, read: Callable[[], tree.Operand]) -> tuple[tree.Operand, ...]:
        """What stands in parentheses, of which the first has been read."""
        found: list[tree.Operand] = []
        if self.tokens.accept(")"):
            return ()
        found.append(read())
        while self.tokens.accept(","):
            found.append(read())
        self.tokens.expect(")")
        return tuple(found)

    def path(self) -> tree.Path:
        parts: list[str | int] = [self.name(self.identifier())]
        while True:
            if self.tokens.accept("."):
                if self.tokens.keyword() in _NO_NAMES:
                    raise malformed("Invalid path dot component")
                parts.append(self.name(self.identifier()))
            elif self.tokens.accept("["):
                parts.append(self.step())
                self.tokens.expect("]")
            else:
                return tree.Path(tuple(parts))

    def step(self) -> str | int:
        token = self.tokens.take()
        if token.kind == "text":
            return self.name(unquoted(token))
        if token.kind != "number" or not token.text.isdecimal() or len(token.text) > _STEP_DIGITS_MAX:
            raise malformed("Invalid path component")
        return int(token.text)

    def qualified_table(self, otherwise: str) -> list[str]:
        """A table's name, of its ARN the name, and what stands behind it with dots."""
        token = self.tokens.peek()
        if token.kind != "quoted" and (token.kind != "name" or token.text.upper() in _NO_NAMES):
            raise malformed(otherwise)
        components = [self.identifier()]
        while self.tokens.accept("."):
            components.append(self.identifier())
        if "" in components:
            raise wording.invalid("Path component cannot be an empty string")
        table = components[0]
        return [checked_table_name(table) if table.startswith("arn:") else table, *components[1:]]

    def written_table(self) -> str:
        table, *qualifiers = self.qualified_table("Expected identifier for simple path")
        if qualifiers:
            raise wording.invalid("This operation is not supported on an index")
        return table

    def identifier(self) -> str:
        token = self.tokens.peek()
        if token.kind == "quoted":
            return unquoted(self.tokens.take())
        if token.kind != "name":
            raise malformed("Unexpected token")
        if token.text.upper() in _NO_NAMES:
            raise malformed("Unexpected keyword")
        return self.tokens.take().text

    def name(self, name: str) -> str:
        for placeholder, known in self.names.items():
            if known == name:
                return placeholder
        placeholder = f"#{len(self.names)}"
        self.names[placeholder] = name
        return placeholder

    def placeholder(self, value: AttributeValue) -> tree.ValuePlaceholder:
        name = f":{len(self.values)}"
        self.values[name] = value
        return tree.ValuePlaceholder(name)

    def descend(self) -> None:
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise malformed()
