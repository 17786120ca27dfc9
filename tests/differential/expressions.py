"""Values and expressions: few names and few values, so that requests meet each other's items.

An expression is sound unless its `Writer` has a fault to spend, and then it has one fault: of several, systems may
report any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]
Value = dict[str, Any]
Path = tuple[str | int, ...]

TEXTS: Final = ("x", "y", "xy", "", "é", "Z", "p")
NUMBERS: Final = ("0", "1", "2", "10", "-1", "1.5", "0.1", "-0.0", "1e2", "100", "007", "1.50", "+3", ".5", "0.012")
LARGE_NUMBERS: Final = (
    "99999999999999999999999999999999999999",
    "1e125",
    "-9.9e125",
    "1e-130",
    "1.2345678901234567890123456789012345678",
)
BINARIES: Final = ("YQ==", "YWI=", "", "/w==", "AAE=")
SETS: Final[tuple[Value, ...]] = (
    {"SS": ["x"]},
    {"SS": ["y", "x"]},
    {"SS": ["xy", "", "x"]},
    {"NS": ["1"]},
    {"NS": ["2", "10", "1.0"]},
    {"BS": ["YQ=="]},
    {"BS": ["YWI=", "YQ=="]},
)
FAULTY_VALUES: Final[tuple[Any, ...]] = (
    {"N": "abc"},
    {"N": ""},
    {"N": "1e126"},
    {"N": "1e-131"},
    {"N": "123456789012345678901234567890123456789"},
    {"SS": []},
    {"SS": ["x", "x"]},
    {"NS": ["1", "1.0"]},
    {"NS": ["1", "a"]},
    {"NULL": False},
    {"S": "x", "N": "1"},
    {},
    {"L": [{}]},
    {"M": {"a": {"SS": []}}},
    {"X": "x"},
)
_ORDERED_VALUES: Final[tuple[Value, ...]] = (
    *({"S": text} for text in TEXTS),
    *({"N": number} for number in (*NUMBERS, *LARGE_NUMBERS)),
    *({"B": data} for data in BINARIES),
)
# Lower and upper bounds, the lower one first.
_BOUNDS: Final[tuple[tuple[Value, Value], ...]] = (
    ({"N": "0"}, {"N": "1.5"}),
    ({"N": "-1"}, {"N": "100"}),
    ({"N": "1"}, {"N": "1.0"}),
    ({"S": ""}, {"S": "xy"}),
    ({"S": "Z"}, {"S": "y"}),
    ({"B": "YQ=="}, {"B": "/w=="}),
)
_scalars = st.one_of(
    st.sampled_from(_ORDERED_VALUES), st.sampled_from(({"BOOL": True}, {"BOOL": False}, {"NULL": True}))
)
_flat = st.one_of(_scalars, st.sampled_from(SETS))
_inner = st.one_of(
    _flat,
    st.lists(_flat, max_size=3).map(lambda elements: {"L": elements}),
    st.dictionaries(st.sampled_from("abc"), _flat, max_size=2).map(lambda members: {"M": members}),
)
values: st.SearchStrategy[Value] = st.one_of(
    _flat,
    st.lists(_inner, max_size=3).map(lambda elements: {"L": elements}),
    st.dictionaries(st.sampled_from("abc"), _inner, max_size=3).map(lambda members: {"M": members}),
)
_lists = st.lists(_scalars, max_size=2).map(lambda elements: {"L": elements})
_percent = st.integers(0, 99)

_PARTS: Final[Path] = ("a", "b", "c", 0, 1, 2)
RESERVED: Final = ("date", "name", "size")
KEY_VALUES: Final[dict[str, tuple[Value, ...]]] = {
    "S": ({"S": "p"}, {"S": "q"}),
    "N": ({"N": "1"}, {"N": "2"}, {"N": "10"}, {"N": "-1.5"}),
    "B": ({"B": "YQ=="}, {"B": "YWI="}, {"B": "/w=="}),
}


def pick(draw: Draw, choices: Sequence[T]) -> T:
    """One of the choices."""
    found: T = draw(st.sampled_from(choices))
    return found


def percent(draw: Draw) -> int:
    """A number from 0 to 99."""
    return int(draw(_percent))


def chance(draw: Draw, in_a_hundred: int) -> bool:
    """True in so many of a hundred cases; shrinks to False."""
    return percent(draw) >= 100 - in_a_hundred


class Writer:
    """Writes the parts of one request, with the `#names` and `:values` of its expressions.

    `attributes` may hold anything, `typed` are those of index keys, by their type. `fault` is spent on the first
    opportunity that is taken.
    """

    def __init__(self, draw: Draw, typed: Mapping[str, str], *, fault: bool) -> None:
        self.draw = draw
        self.typed = typed
        self.attributes = tuple(name for name in ("a", "b", "c", "g", "h", "l") if name not in typed)
        self.fault = fault
        self.reserved = True
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def errs(self, in_a_hundred: int = 10) -> bool:
        """Whether the fault is to be made here."""
        if not self.fault or not chance(self.draw, in_a_hundred):
            return False
        self.fault = False
        return True

    def fresh(self) -> Writer:
        """A writer with placeholders of its own and no fault."""
        return Writer(self.draw, self.typed, fault=False)

    def name(self, attribute: str) -> str:
        """The attribute as an expression names it: as it is, or by a placeholder."""
        if attribute in RESERVED and self.errs(50):
            return attribute
        if attribute not in RESERVED and not chance(self.draw, 20):
            return attribute
        placeholder = f"#n{len(self.names)}"
        self.names[placeholder] = attribute
        return placeholder

    def value(self, value: Any) -> str:
        """The placeholder of a value."""
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = pick(self.draw, FAULTY_VALUES) if self.errs(5) else value
        return placeholder

    def any_value(self) -> str:
        """The placeholder of any value."""
        return self.value(self.draw(values))

    def path_parts(self, *, nested: bool = True) -> Path:
        """A document path: of an index key only its name."""
        draw = self.draw
        if self.typed and chance(draw, 20) and not self.errs(50):
            return (pick(draw, tuple(self.typed)),)
        names = (*self.attributes, *self.typed) if self.errs(5) else self.attributes
        head = pick(draw, RESERVED if self.reserved and chance(draw, 5) else names)
        depth = pick(draw, (0, 0, 0, 1, 1, 2)) if nested else 0
        return (head, *(pick(draw, _PARTS) for _ in range(depth)))

    def path_text(self, parts: Path) -> str:
        """The path as an expression has it."""
        head, *rest = parts
        return self.name(str(head)) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)

    def path(self) -> str:
        """Any document path."""
        return self.path_text(self.path_parts())

    def paths(self, count: int) -> list[Path]:
        """Paths of which none is within another, and none contradicts another."""
        taken: list[Path] = []
        for _ in range(count * 3):
            parts = self.path_parts()
            if len(taken) < count and (self.errs(20) or all(_apart(parts, other) for other in taken)):
                taken.append(parts)
        return taken

    def two_paths(self) -> tuple[str, str]:
        """Two different paths."""
        found = self.paths(2)
        one = found[0]
        two = found[1] if len(found) > 1 else (*one, "a")
        return self.path_text(one), self.path_text(one if self.errs(30) else two)

    def ordered(self) -> str:
        """The placeholder of a value that has an order."""
        return self.any_value() if self.errs(30) else self.value(pick(self.draw, _ORDERED_VALUES))

    def size(self) -> str:
        """A size, mostly of a path."""
        return f"size({self.any_value()})" if self.errs(20) else f"size({self.path()})"


def _apart(one: Path, two: Path) -> bool:
    for left, right in zip(one, two, strict=False):
        if left != right:
            return isinstance(left, str) == isinstance(right, str)
    return False


def condition(writer: Writer, depth: int = 2) -> str:
    """A condition or filter expression."""
    draw = writer.draw
    kind = percent(draw)
    if depth and kind >= 70:
        if kind < 80:
            return f"NOT {condition(writer, depth - 1)}"
        joined = f"{condition(writer, depth - 1)} {pick(draw, ('AND', 'OR', 'and'))} {condition(writer, depth - 1)}"
        return f"({joined})" if kind < 95 else joined
    return _test(writer, kind % 10)


def _test(writer: Writer, kind: int) -> str:
    draw = writer.draw
    if kind < 2:
        return f"{writer.path()} {pick(draw, ('=', '<>'))} {writer.any_value()}"
    if kind == 2:
        return f"{writer.path()} {pick(draw, ('<', '<=', '>', '>='))} {writer.ordered()}"
    if kind == 3:
        left, right = writer.two_paths()
        if chance(draw, 40):
            left = writer.size()
        return f"{left} {pick(draw, ('=', '<>', '<', '>='))} {right}"
    if kind == 4:
        return _between(writer, pick(draw, (writer.path, writer.path, writer.size, writer.ordered))())
    if kind == 5:
        choices = ", ".join(writer.any_value() for _ in range(pick(draw, (1, 2, 3))))
        return f"{writer.path()} IN ({choices})"
    if kind == 6:
        return f"{pick(draw, ('attribute_exists', 'attribute_not_exists'))}({writer.path()})"
    if kind == 7:
        name = pick(draw, ("S", "N", "B", "SS", "L", "M", "NULL", "BOOL"))
        return f"attribute_type({writer.path()}, {writer.value({'S': 'X' if writer.errs() else name})})"
    if kind == 8:
        prefixes = [value for value in _ORDERED_VALUES if "N" not in value]
        prefix = pick(draw, (writer.size, writer.any_value))() if writer.errs() else writer.value(pick(draw, prefixes))
        return f"begins_with({writer.path()}, {prefix})"
    return f"contains({writer.path()}, {writer.any_value()})"


def _between(writer: Writer, operand: str) -> str:
    low, high = pick(writer.draw, _BOUNDS)
    if writer.errs():
        low, high = pick(writer.draw, ((high, low), ({"S": "x"}, {"N": "1"}), ({"BOOL": True}, {"BOOL": True})))
    return f"{operand} BETWEEN {writer.value(low)} AND {writer.value(high)}"


def update(writer: Writer) -> str:
    """An update expression."""
    draw = writer.draw
    kinds = draw(st.lists(st.sampled_from(("SET", "SET", "REMOVE", "ADD", "DELETE")), min_size=1, max_size=3))
    paths = writer.paths(len(kinds))
    sections: dict[str, list[str]] = {}
    for kind, parts in zip(kinds, paths, strict=False):
        sections.setdefault(kind, []).append(_action(writer, kind, parts))
    written = [f"{kind.lower() if chance(draw, 5) else kind} {', '.join(each)}" for kind, each in sections.items()]
    if writer.errs(3):
        written.append(written[0])
    return " ".join(written)


def _action(writer: Writer, kind: str, parts: Path) -> str:
    draw, path = writer.draw, writer.path_text(parts)
    key_type = writer.typed.get(str(parts[0])) if len(parts) == 1 else None
    if kind == "REMOVE":
        return path
    if key_type is not None and not writer.errs(10):
        # A key of an index is a scalar: nothing can be deleted from it, and only numbers can be added to.
        if kind == "SET":
            return f"{path} = {writer.value(pick(draw, KEY_VALUES[key_type]))}"
        number = kind == "ADD" and key_type == "N"
        return f"{path} {writer.value(pick(draw, KEY_VALUES['N']) if number else {'SS': ['x']})}"
    if kind == "SET":
        return f"{path} = {_operand(writer)}"
    if kind == "ADD":
        numbers = [{"N": number} for number in (*NUMBERS, *LARGE_NUMBERS)]
        return f"{path} {writer.any_value() if writer.errs() else writer.value(pick(draw, (*numbers, *SETS)))}"
    return f"{path} {writer.any_value() if writer.errs() else writer.value(pick(draw, SETS))}"


def _operand(writer: Writer, depth: int = 1) -> str:
    draw = writer.draw
    kind = percent(draw)
    if kind < 40:
        return writer.any_value()
    if kind < 50:
        return writer.path()
    if kind < 70:
        number = writer.value({"N": pick(draw, (*NUMBERS, *LARGE_NUMBERS))})
        left = f"if_not_exists({writer.path()}, {number})" if chance(draw, 60) else writer.path()
        return f"{left} {pick(draw, '+-')} {writer.any_value() if writer.errs() else number}"
    if kind < 85:
        default = writer.any_value() if not depth or chance(draw, 80) else _operand(writer, depth - 1)
        return f"if_not_exists({writer.path()}, {default})"
    elements = writer.any_value() if writer.errs() else writer.value(draw(_lists))
    path = writer.path()
    return pick(
        draw,
        (
            f"list_append({path}, {elements})",
            f"list_append({elements}, {elements})",
            f"list_append(if_not_exists({path}, {elements}), {elements})",
        ),
    )


def projection(writer: Writer) -> str:
    """A projection expression."""
    return ", ".join(writer.path_text(parts) for parts in writer.paths(pick(writer.draw, (1, 1, 2, 3))))


def key_condition(writer: Writer, attributes: Mapping[str, str]) -> str:
    """A key condition on a table's or an index's key attributes."""
    draw = writer.draw
    (partition, kind), *sort = attributes.items()
    operator = pick(draw, (">", "<>")) if writer.errs(5) else "="
    text = f"{writer.name(partition)} {operator} {writer.value(pick(draw, KEY_VALUES[kind]))}"
    if sort and chance(draw, 60):
        both = [text, _sort_condition(writer, *sort[0])]
        text = " AND ".join(both if chance(draw, 80) else both[::-1])
    if writer.errs(10):
        text = f"{text} {pick(draw, ('AND', 'OR'))} {condition(writer, 0)}"
    return text


def _sort_condition(writer: Writer, name: str, kind: str) -> str:
    draw = writer.draw
    if writer.errs(10):
        kind = pick(draw, ("S", "N", "B"))
    form = percent(draw)
    if form < 50:
        operator = pick(draw, ("<>", "IN")) if writer.errs(10) else pick(draw, ("=", "<", "<=", ">", ">="))
        sides = [writer.name(name), writer.value(pick(draw, KEY_VALUES[kind]))]
        return f" {operator} ".join(sides if chance(draw, 90) else sides[::-1])
    if form < 75 or (kind == "N" and not writer.errs(30)):
        low, high = ({"N": "1"}, {"N": "10"}) if kind == "N" else KEY_VALUES[kind][:2]
        if writer.errs(10):
            low, high = high, low
        return f"{writer.name(name)} BETWEEN {writer.value(low)} AND {writer.value(high)}"
    return f"begins_with({writer.name(name)}, {writer.value(pick(draw, KEY_VALUES[kind]))})"


_TOKENS: Final = ("AND", "OR", "NOT", "(", ")", ",", "=", "<", ".", "[", "]", "#n9", ":v9", "a", "SET", "IN", "é", "0")
_STRANGE: Final = ("#", ":", "a.", "a..b", "a[b]", "a[-1]", "SIZE", "date", "foo(a)", "a[0", "1a")


def damaged(draw: Draw, text: str) -> str:
    """An expression with one token left out, put in, or replaced."""
    words = text.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split()
    # A placeholder that is lost would be a second fault: it would not be used.
    plain = [number for number, word in enumerate(words) if not {"#", ":"} & set(word)]
    if not plain:
        return f"{text} {pick(draw, _TOKENS)}"
    place = pick(draw, plain)
    kind = percent(draw)
    if kind < 10 and len(plain) == len(words):
        return pick(draw, ("", " "))
    if kind < 30:
        del words[place]
    elif kind < 55:
        words.insert(place, pick(draw, _TOKENS))
    else:
        words[place] = pick(draw, _TOKENS if kind < 80 else _STRANGE)
    return " ".join(words)


_LEGACY_OPERATORS: Final = (
    *("EQ", "NE", "IN", "LE", "LT", "GE", "GT", "BETWEEN", "NOT_NULL", "NULL"),
    *("CONTAINS", "NOT_CONTAINS", "BEGINS_WITH"),
)
# What the operators from before expressions take.
_ORDERED_TYPES: Final = ("S", "N", "B")
_OPERAND_TYPES: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("LE", "LT", "GE", "GT"), _ORDERED_TYPES),
    "CONTAINS": (*_ORDERED_TYPES, "BOOL"),
    "NOT_CONTAINS": (*_ORDERED_TYPES, "BOOL"),
    "BEGINS_WITH": ("S", "B"),
}


def legacy_condition(writer: Writer) -> Value:
    """A `Condition` from before expressions."""
    draw = writer.draw
    operator = pick(draw, _LEGACY_OPERATORS)
    if operator in ("NULL", "NOT_NULL"):
        return {"ComparisonOperator": operator}
    if operator == "BETWEEN":
        operands = list(pick(draw, _BOUNDS))
        return {"ComparisonOperator": operator, "AttributeValueList": operands[::-1] if writer.errs(20) else operands}
    types = _OPERAND_TYPES.get(operator)
    if operator == "IN":
        kind = pick(draw, _ORDERED_TYPES)
        choices = [value for value in _ORDERED_VALUES if kind in value]
        operands = [pick(draw, choices) for _ in range(pick(draw, (1, 2)))]
    elif types is None or writer.errs(10):
        operands = [draw(values)]
    else:
        operands = [pick(draw, [value for value in _ORDERED_VALUES if next(iter(value)) in types])]
    if writer.errs(10):
        operands = pick(draw, ([], operands * 3))
    return {"ComparisonOperator": "EQUALS" if writer.errs(5) else operator, "AttributeValueList": operands}
