"""Every mark of a documented fact (S18, P7) that the code or a test names is in docs/facts.md, and the other way."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FACTS = set(re.findall(r"^\| ([SP]\d{1,2}) \|", (ROOT / "docs/facts.md").read_text(), re.MULTILINE))
SOURCES = sorted(path for folder in ("src", "apps", "tests") for path in (ROOT / folder).rglob("*.py"))

RANGE = re.compile(r"\b([SP])(\d{1,2}) to \1(\d{1,2})\b")
MARK = re.compile(r"\b[SP]\d{1,2}\b")
NAME_OF_TEST = re.compile(r"^ *def (test_\w+)", re.MULTILINE)
NAME = re.compile(r"_([sp]\d{1,2})(?=_|$)")
# What is written like a mark and is none: the service.
NO_MARKS = {"S3"}


def prose(text: str) -> Iterator[str]:
    """The docstrings and comments of a module, where a string of its code may say S1 and mean something else."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""
    lines = iter(text.splitlines(keepends=True))
    tokens = tokenize.generate_tokens(lambda: next(lines, ""))
    yield from (token.string for token in tokens if token.type == tokenize.COMMENT)


def marks(path: Path) -> set[str]:
    module = path.read_text()
    found = {mark.upper() for name in NAME_OF_TEST.findall(module) for mark in NAME.findall(name)}
    # Most modules have none, and are not worth taking apart.
    for text in prose(module) if MARK.search(module) else ():
        found.update(MARK.findall(text))
        for letter, first, last in RANGE.findall(text):
            found.update(f"{letter}{number}" for number in range(int(first), int(last) + 1))
    return found - NO_MARKS


def test_every_mark_has_its_line_and_every_line_its_mark() -> None:
    used = {str(path.relative_to(ROOT)): marks(path) for path in SOURCES if path != Path(__file__)}
    unknown = {path: found - FACTS for path, found in used.items() if found - FACTS}
    assert unknown == {}, "give each fact its line in docs/facts.md"
    assert set().union(*used.values()) == FACTS, "no code or test names these facts any more: take their lines out"
