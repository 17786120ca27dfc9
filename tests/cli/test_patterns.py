"""`afterwrite pattern`, as a process of its own, and the examples of docs/patterns.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afterwrite import patterns
from afterwrite.cli import command_line
from afterwrite.core import json_text
from afterwrite.errors import AfterwriteError
from bounds import BOUND_S

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "patterns.md"
_EXAMPLE = re.compile(r"^(pattern|matches|does not match|dialect|refuses) +(\S.*)$", re.MULTILINE)
_PATTERN = '{"kind": ["order"], "lines": {"sku": ["a"], "paid": [true]}}'
_MATCHING = '{"kind": "order", "lines": [{"sku": "a", "paid": true}]}'
_OTHER = '{"kind": "order", "lines": [{"sku": "a"}, {"paid": true}]}'


def _run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "afterwrite", "pattern", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=BOUND_S)


def test_every_event_of_every_source_is_judged(tmp_path: Path) -> None:
    (tmp_path / "pattern.json").write_text(_PATTERN)
    (tmp_path / "lines.jsonl").write_text(f"{_MATCHING}\n\n{_OTHER}\n")
    (tmp_path / "array.json").write_text(f"[\n{_MATCHING},\n{_MATCHING}]\n")
    pattern, lines, array = (str(tmp_path / name) for name in ("pattern.json", "lines.jsonl", "array.json"))
    done = _run("test", f"@{pattern}", lines, array, "-", stdin=_MATCHING)
    assert done.stdout.splitlines() == [
        f"{lines}:1: matches",
        f"{lines}:3: does not match",
        f"{array}[1]: matches",
        f"{array}[2]: matches",
        "standard input:1: matches",
        "4 of 5 events matched",
    ]
    assert (done.returncode, done.stderr) == (1, "")
    assert _run("test", pattern, array).returncode == 0


def test_verdicts_for_a_script() -> None:
    done = _run("test", "--json", _PATTERN, "-", stdin=f"{_OTHER}\n{_MATCHING}")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"event": "standard input:1", "matches": False},
        {"event": "standard input:2", "matches": True},
    ]


def test_an_explanation_names_the_fields_and_why() -> None:
    done = _run("explain", _PATTERN, '{"kind": "\\u001b[31m", "lines": {"sku": "a", "paid": 1}}')
    assert done.stdout.splitlines() == [
        "does not match",
        "  kind",
        '    expected ["order"]',
        '    found    "\\u001b[31m"',
        "  lines.paid",
        "    expected [true]",
        "    found    1",
    ]
    assert done.returncode == 1


def test_an_explanation_for_a_script(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(_OTHER)
    done = _run("explain", "--json", _PATTERN, str(event))
    assert json.loads(done.stdout) == {
        "matches": False,
        "mismatches": [
            {"path": "lines.paid", "expected": [True], "found": [True], "apart": True},
            {"path": "lines.sku", "expected": ["a"], "found": ["a"], "apart": True},
        ],
    }
    assert _run("explain", _PATTERN, "-", stdin=_MATCHING).stdout == "matches\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("test", '{"a": 1}', "-"), "EventBridge pattern, at a: expected an object or a list of matchers, found 1"),
        (
            ("test", "--dialect", "pipes", '{"a": [{"wildcard": "x"}]}', "-"),
            "EventBridge Pipes pattern, at a: expected",
        ),
        (("test", "nowhere.json", "-"), "expected JSON text or a file, got 'nowhere.json': No such file"),
        (("test", _PATTERN, "nowhere.jsonl"), "expected a file with events, got 'nowhere.jsonl': No such file"),
        (("test", _PATTERN), "expected at least one event, found none"),
        (("test", _PATTERN, "{"), "expected an event as JSON in event, found text that is none"),
        (("explain", _PATTERN, "[1]"), "expected an event in event, a JSON object, found int"),
        (("explain", _PATTERN, "[{}, {}]"), "expected one event to explain, found more"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(AfterwriteError) as error:
        command_line(["pattern", *arguments])
    assert words in str(error.value)


def test_a_refused_pattern_is_one_line_and_status_2() -> None:
    done = _run("test", '{"a": 1}', "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "afterwrite: EventBridge pattern, at a: expected an object or a list of matchers, found 1\n"


def test_the_examples_of_the_documentation_are_true() -> None:
    dialect, pattern, checked = patterns.EVENTBRIDGE, "", 0
    for word, argument in _EXAMPLE.findall(DOCUMENT.read_text()):
        if word == "dialect":
            dialect = patterns.DIALECTS[argument]
        elif word == "pattern":
            pattern = argument
        elif word == "refuses":
            with pytest.raises(patterns.InvalidPattern):
                patterns.compile(argument, dialect)
        else:
            event: Any = json_text.loads_exactly(argument.encode())
            assert patterns.compile(pattern, dialect).matches(event) is (word == "matches"), argument
        checked += 1
    assert checked > 50


def test_the_documentation_names_every_dialect_and_operator() -> None:
    text = DOCUMENT.read_text()
    named = {*patterns.DIALECTS, *patterns.EVENTBRIDGE.operators, "$or"}
    assert {name for name in named if f'"{name}"' not in text and f"`{name}`" not in text} == set()
