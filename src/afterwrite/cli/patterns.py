"""`afterwrite pattern`: try event patterns on events."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal, TypeAlias

from cyclopts import App as CommandLine
from cyclopts import Parameter

from afterwrite.cli.parameters import Flag
from afterwrite.cli.rendering import count_text, print_json, print_line, printable
from afterwrite.core import json_text
from afterwrite.errors import CommandError
from afterwrite.patterns import DIALECTS, Mismatch, Pattern, compile

command_line = CommandLine(name="pattern", help="Try event patterns on events.")

# A hyphen alone is no option.
Source: TypeAlias = Annotated[str, Parameter(allow_leading_hyphen=True)]
DialectName: TypeAlias = Literal["eventbridge", "lambda", "pipes", "sns-attributes", "sns-body"]

_STANDARD_INPUT: Final = "-"


@command_line.command
def test(pattern: str, /, *events: Source, dialect: DialectName = "eventbridge", json: Flag = False) -> int:
    """Say of each event whether it matches.

    Exits with 0 if every event matches, and with 1 if one does not.

    Parameters
    ----------
    pattern
        The pattern: JSON text, or the file that it is in (`pattern.json`, `@pattern.json`).
    events
        Files of events: one as JSON, several as a JSON array or as JSON lines. `-` is standard input.
    dialect
        The service whose language it is: eventbridge, lambda, pipes, sns-attributes or sns-body. What the service
        refuses is refused here.
    json
        Print one JSON object an event.
    """
    compiled = _compiled(pattern, dialect)
    counts = {True: 0, False: 0}
    for source in events:
        for place, event in _events(source):
            matches = compiled.matches(event)
            counts[matches] += 1
            if json:
                print_json({"event": place, "matches": matches})
            else:
                print_line(f"{printable(place)}: ", ("matches", "green") if matches else ("does not match", "red"))
    total = sum(counts.values())
    if not total:
        raise CommandError("expected at least one event, found none: name a file with events, or - for standard input")
    if not json:
        print_line(f"{counts[True]} of {count_text(total, 'event')} matched")
    return 1 if counts[False] else 0


@command_line.command
def explain(pattern: str, event: Source, /, *, dialect: DialectName = "eventbridge", json: Flag = False) -> int:
    """Say which fields keep an event from matching, and why.

    Of a pattern with alternatives (`$or`), the one that is closest to matching is explained. Exits with 0 if the event
    matches, and with 1 if it does not.

    Parameters
    ----------
    pattern
        The pattern: JSON text, or the file that it is in (`pattern.json`, `@pattern.json`).
    event
        The event: JSON text, the file that it is in, or `-` for standard input.
    dialect
        The service whose language it is: eventbridge, lambda, pipes, sns-attributes or sns-body. What the service
        refuses is refused here.
    json
        Print one JSON object.
    """
    compiled = _compiled(pattern, dialect)
    found = [each for _, each in itertools.islice(_events(event), 2)]
    if len(found) != 1:
        raise CommandError(f"expected one event to explain, found {'more' if found else 'none'}")
    mismatches = compiled.explain(found[0])
    if json:
        fields = [{"path": m.path, "expected": m.expected, "found": m.found, "apart": m.apart} for m in mismatches]
        print_json({"matches": not mismatches, "mismatches": fields})
    else:
        print_line(("does not match", "red") if mismatches else ("matches", "green"))
        for mismatch in mismatches:
            _show(mismatch)
    return 1 if mismatches else 0


def _show(mismatch: Mismatch) -> None:
    print_line(f"  {printable(mismatch.path)}")
    print_line(f"    expected {_shown(mismatch.expected)}")
    found = ", ".join(map(_shown, mismatch.found)) if mismatch.found else "nothing"
    print_line(f"    found    {found}")
    if mismatch.apart:
        print_line("    which would do, but in another element of an array than the other fields")


def _shown(value: Any) -> str:
    return printable(json_text.dumps(value).decode())


def _compiled(pattern: str, dialect: DialectName) -> Pattern:
    text = pattern if _is_json(pattern) else _read(pattern.removeprefix("@")).decode(errors="replace")
    return compile(text, DIALECTS[dialect])


def _is_json(argument: str) -> bool:
    return argument.lstrip().startswith(("{", "["))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"expected JSON text or a file, got {path!r}: {error.strerror}") from None


def _events(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a source, each with the place where it is."""
    if source == _STANDARD_INPUT:
        yield from _events_of(sys.stdin.buffer, "standard input")
    elif _is_json(source):
        yield from _events_in(source.encode(), "event")
    else:
        path = source.removeprefix("@")
        try:
            with Path(path).open("rb") as file:
                yield from _events_of(file, path)
        except OSError as error:
            raise CommandError(f"expected a file with events, got {path!r}: {error.strerror}") from None


def _events_of(file: BinaryIO, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events a line, unless the first line is only the beginning of a value; then the whole is one."""
    lines = enumerate(file, start=1)
    for number, line in lines:
        if not line.strip():
            continue
        try:
            json_text.loads_exactly(line)
        except ValueError:
            yield from _events_in(line + file.read(), name)
            return
        yield from _events_in(line, f"{name}:{number}")
        break
    for number, line in lines:
        if line.strip():
            yield from _events_in(line, f"{name}:{number}")


def _events_in(text: bytes, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        value = json_text.loads_exactly(text)
    except ValueError as error:
        raise CommandError(f"expected an event as JSON in {place}, found text that is none: {error}") from None
    for number, event in enumerate(value, start=1) if isinstance(value, list) else [(0, value)]:
        if not isinstance(event, dict):
            raise CommandError(f"expected an event in {place}, a JSON object, found {type(event).__name__}")
        yield (f"{place}[{number}]" if number else place), event
