"""What commands print: tables and colour on a terminal, plain aligned lines elsewhere, JSON where a script reads.

Text that comes from the data (keys, names, reasons, payloads) passes `printable`, so that it cannot steer a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from afterwrite.core import json_text

Cell: TypeAlias = str | int
Styled: TypeAlias = str | tuple[str, str]
"""Text, or text with the style it has on a terminal."""


class _Console(Console):
    """A console that leaves it to the command line what follows when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


_CONSOLE: Final = _Console(highlight=False, markup=False, emoji=False)
_GAP: Final = "  "
_JSON_WIDTH: Final = 100


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    print(json_text.dumps(value).decode(), flush=True)


def print_line(*parts: Styled) -> None:
    """Print one line, however long it is."""
    _CONSOLE.print(Text.assemble(*parts), soft_wrap=True)


def print_aside(text: str) -> None:
    """Print one line on standard error, where it is in no output's way."""
    print(text, file=sys.stderr, flush=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table; numbers stand right. Nothing is printed where there are no rows."""
    if not rows:
        return
    right = [all(isinstance(row[column], int) for row in rows) for column in range(len(columns))]
    if sys.stdout.isatty():
        table = Table(title=title or None, title_justify="left")
        for name, is_right in zip(columns, right, strict=True):
            table.add_column(name, justify="right" if is_right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        _CONSOLE.print(table)
        return
    lines = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    if title:
        print(title)
    for line in lines:
        cells = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        ]
        print(_GAP.join(cells).rstrip(), flush=True)
    print()


def printable(text: str) -> str:
    """The text with everything that is no printable character escaped."""
    return text if text.isprintable() else "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def json_lines(value: Any, *, indent: str = "") -> Iterator[str]:
    """The JSON text of a value, on as few lines as are not too long to read."""
    text = json_text.dumps(value).decode()
    if len(indent) + len(text) <= _JSON_WIDTH or not value or not isinstance(value, dict | list):
        yield indent + text
        return
    if isinstance(value, dict):
        parts = [(f"{json_text.dumps(name).decode()}: ", each) for name, each in value.items()]
    else:
        parts = [("", each) for each in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield indent + opening
    for number, (name, each) in enumerate(parts, start=1):
        first, *rest = json_lines(each, indent=f"{indent}  ")
        lines = [f"{indent}  {name}{first.lstrip()}", *rest]
        yield from lines[:-1]
        yield lines[-1] + ("," if number < len(parts) else "")
    yield indent + closing


def bytes_text(size: int) -> str:
    """A size in the unit that fits it."""
    if size < 1 << 10:
        return f"{size} B"
    return f"{size / (1 << 10):.1f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"


def count_text(count: int, one: str) -> str:
    """A count with its noun: `1 message`, `2 messages`."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"
