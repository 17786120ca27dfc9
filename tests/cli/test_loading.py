"""Loading an app's file: whatever it is called, and with the place where it fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwrite import DeclarationError
from afterwrite.cli.loading import load_app
from bounds import BOUND_S
from cli.conftest import Run

DECLARATION = """
from afterwrite import App

app = App("shop")
"""


@pytest.fixture(autouse=True)
def imports_as_before() -> Iterator[None]:
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in sys.modules.keys() - modules:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["shop.py", "json.py", "queue.py", "afterwrite.py", "shop.v2.py", "web shop.py"])
def test_an_apps_file_may_be_called_as_it_likes(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(DECLARATION)
    assert load_app(path).name == "shop"


@pytest.mark.parametrize("name", ["wave", "json"])
def test_the_standard_librarys_module_of_the_apps_name_stays_what_it_is(name: str, tmp_path: Path) -> None:
    """`wave` is loaded by nobody before, `json` by everybody."""
    (tmp_path / f"{name}.py").write_text(DECLARATION)
    check = (
        "import sys; from pathlib import Path; from afterwrite.cli.loading import load_app; "
        f"load_app(Path(sys.argv[1])); import {name}; sys.exit(hasattr({name}, 'app'))"
    )
    command = [sys.executable, "-c", check, str(tmp_path / f"{name}.py")]
    assert subprocess.run(command, check=False, timeout=BOUND_S).returncode == 0


def test_two_apps_whose_files_are_called_alike_are_two(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "called_alike.py").write_text(DECLARATION.replace("shop", name))
    assert [load_app(tmp_path / name / "called_alike.py").name for name in ("first", "second")] == ["first", "second"]


def test_a_file_imports_its_neighbours_and_they_the_app_itself(tmp_path: Path) -> None:
    (tmp_path / "declared_here.py").write_text(DECLARATION + "import its_neighbour\n")
    (tmp_path / "its_neighbour.py").write_text("import declared_here\ndeclared_here.app.queue('mail')\n")
    assert [queue.name for queue in load_app(tmp_path / "declared_here.py").queues] == ["mail"]


@pytest.mark.parametrize("imported", ["from its_package.names import NAME", "from .names import NAME"])
@pytest.mark.parametrize("name", ["app.py", "app.v2.py"])
def test_a_packages_app_imports_its_siblings(imported: str, name: str, tmp_path: Path) -> None:
    package = tmp_path / "its_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "names.py").write_text("NAME = 'packed'\n")
    (package / name).write_text(f"from afterwrite import App\n{imported}\napp = App(NAME)\n")
    assert load_app(package / name).name == "packed"


FAILURES = {
    "it raises": ("import os\n1 / 0\n", "{app}:2: ZeroDivisionError: division by zero"),
    "it is no Python": ("app = = 1\n", "{app}:1: SyntaxError: invalid syntax"),
    "a declaration is refused": (
        "from afterwrite import App\napp = App('shop')\n\napp.table('ab', partition_key='PK')\n",
        "{app}:4: expected a table's name of at least 3 characters: 'ab'",
    ),
    "a library raises": ("import json\njson.loads('')\n", "{app}:2: JSONDecodeError: Expecting value: "),
    "a neighbour raises": ("\nimport failing_neighbour\n", "{neighbour}:3 (from {app}:2): KeyError: 'price'"),
    "a neighbour is not there": ("import nowhere_to_be_found\n", "{app}:1: ModuleNotFoundError: No module named "),
    "it ends the process": ("import sys\nsys.exit()\n", "{app}:2: SystemExit"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_fails_in_the_file_is_told_with_its_place(case: str, tmp_path: Path) -> None:
    text, expected = FAILURES[case]
    app, neighbour = tmp_path / "failing_app.py", tmp_path / "failing_neighbour.py"
    app.write_text(text)
    neighbour.write_text("\n\n{}['price']\n")
    with pytest.raises(DeclarationError) as failed:
        load_app(app)
    assert str(failed.value).startswith(expected.format(app=app, neighbour=neighbour))


def test_a_failing_file_is_one_line_and_exit_2(tmp_path: Path, cli: Run) -> None:
    app = tmp_path / "shop.py"
    app.write_text(DECLARATION + "orders = len(1)\n")
    done = cli("run", app, "--data", tmp_path / "data")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"afterwrite: {app}:5: TypeError: ")
    assert done.stderr.count("\n") == 1
