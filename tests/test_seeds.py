"""The page of the designs' systems names only what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from afterwrite.cli import command_line

ROOT = Path(__file__).resolve().parent.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "seeds.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| system")
]


@pytest.mark.parametrize(("system", "where", "test", "command"), ROWS, ids=[row[0] for row in ROWS])
def test_a_system_is_where_the_page_says(system: str, where: str, test: str, command: str) -> None:
    assert (ROOT / where.strip("`")).is_file()
    assert re.search(r"^def test_", (ROOT / test.strip("`")).read_text(), re.MULTILINE)
    program, name = command.strip("`").split()[:2]
    assert program in ("make", "aws") or (program == "afterwrite" and command_line[name])


def test_no_row_is_lost_or_there_twice() -> None:
    systems = [row[0] for row in ROWS]
    assert len(systems) == len(set(systems)) >= 50
