"""What holds for every command, and that its documentation says what it says."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from afterwrite.cli import main
from cli.conftest import Run

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
COMMANDS = [
    "run",
    "serve",
    "status",
    "check",
    "tail",
    "parked list",
    "parked show",
    "parked redrive",
    "parked drop",
    "query",
    "replay",
    "search",
    "audit verify",
    "audit history",
    "forget",
    "pattern test",
    "pattern explain",
    "backup",
    "restore",
    "export",
    "import",
    "graph",
    "synth",
    "package",
    "demo",
]


def run_here(arguments: Sequence[str]) -> int:
    """Run the command line in this process; its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_documentation_holds_the_help_as_it_is(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*command.split(), "--help"]
    assert run_here(arguments) == 0
    printed = capsys.readouterr().out.rstrip()
    assert f"```console\n$ {' '.join(['afterwrite', *arguments])}\n{printed}\n```" in DOCS.read_text()


def test_every_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["--help"]) == 0
    listed = re.findall(r"^  ([a-z][a-z-]*)  ", capsys.readouterr().out, re.MULTILINE)
    assert sorted(listed) == sorted({command.split()[0] for command in COMMANDS})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), 'Unknown command "nope"'),
        (("replay", "events"), 'Command "replay" parameter --from requires an argument.'),
        (("tail", "--limit", "0"), 'Invalid value "0" for --limit'),
        (("status", "shop"), "expected nothing more for afterwrite status, got 'shop': see afterwrite status --help"),
        (("parked", "list", "a", "b"), "expected nothing more for afterwrite parked list, got 'b': see"),
        (("run", "missing.py"), "expected a Python file with an App"),
    ],
)
def test_wrong_use_is_one_line_on_standard_error_and_exit_2(
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_here(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"afterwrite: {message}")
    assert printed.err.count("\n") == 1


@contextlib.contextmanager
def without_permissions(folder: Path) -> Iterator[None]:
    """The folder is closed, and this process is not the one that may open it all the same."""
    was = os.geteuid()
    folder.chmod(0)
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)
        folder.chmod(0o755)


def test_a_directory_that_may_not_be_looked_into_is_named(tmp_path: Path, cli: Run) -> None:
    data = tmp_path / "data"
    (data / "store").mkdir(parents=True)
    assert cli("status", "--data", data).returncode == 2
    with without_permissions(data):
        done = cli("status", "--data", data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"afterwrite: expected to be allowed to use {data}")
    assert "got: Permission denied; run this as the user who runs the engine" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_store_that_cannot_be_opened_is_named_by_those_that_read_it_alike(tmp_path: Path, cli: Run) -> None:
    (tmp_path / "store").mkdir()
    done = [cli(command, "--data", tmp_path) for command in ("status", "check")]
    assert done[0].stderr == done[1].stderr == f"afterwrite: {_cannot_open(tmp_path / 'store')}\n"
    assert [each.returncode for each in done] == [2, 2]


def _cannot_open(store: Path) -> str:
    return f"the store in {store} failed (Error: {store}: No such file or directory)"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--data", "FILE"),
        ("parked", "drop", "--all", "--data", "FILE"),
        ("restore", "FILE", "--data", "new"),
        ("restore", "new", "--data", "FILE"),
        ("backup", "new", "--data", "FILE"),
        ("import", "FILE", "things", "--data", "new"),
    ],
)
def test_a_file_in_the_place_of_a_directory_is_one_line(arguments: tuple[str, ...], tmp_path: Path, cli: Run) -> None:
    (tmp_path / "file").write_text("x")
    places = {"FILE": str(tmp_path / "file"), "new": str(tmp_path / "new")}
    done = cli(*(places.get(each, each) for each in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: ")
    assert done.stderr.count("\n") == 1


def test_version(cli: Run) -> None:
    assert cli("--version").stdout == f"{version('afterwrite')}\n"
