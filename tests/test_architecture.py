"""The structure is law: import contracts, and rooms that stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

MODULES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("apps/**/*.py"), *ROOT.glob("bench/**/*.py")])


def test_imports_keep_the_contracts() -> None:
    """pyproject.toml holds the contracts; a broken one is printed with the imports that break it."""
    command = "import sys; sys.path.insert(0, 'apps'); from importlinter.cli import lint_imports_command as c; c()"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"an import points the wrong way: move it, or the decision\n{done.stdout}{done.stderr}"


def test_no_example_of_a_property_has_a_deadline() -> None:
    assert settings().deadline is None, "tests/conftest.py sets it: a busy machine leaves any thread alone for seconds"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    """A room that outgrows its size holds a decision that belongs elsewhere."""
    text = path.read_text()
    lines = text.count("\n")
    assert lines <= MODULE_LINES_MAX, f"{lines} lines, at most {MODULE_LINES_MAX}: split by what it decides"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, (
                f"{node.name} has {length} lines, at most {FUNCTION_LINES_MAX}: give its parts names"
            )
