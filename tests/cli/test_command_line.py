"""What holds for every command, and that its documentation says what it says."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from afterwrite import open_engine
from afterwrite.cli import main
from afterwrite.cli.loading import load_app
from bounds import BOUND_S
from cli.conftest import APP, Run

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
APP_TEXT = """from afterwrite import App

print("loading")
app = App("shop")
things = app.table("things", partition_key="id")
mail = app.queue("mail")


@things.on()
def tell(change):
    return mail.send(change.keys["id"])
"""
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


@pytest.mark.parametrize(
    "arguments", [("status",), ("check",), ("backup", "new"), ("export", "things", "new"), ("forget", "key")]
)
def test_a_directory_without_a_store_is_named_by_all_alike(
    arguments: tuple[str, ...], tmp_path: Path, cli: Run
) -> None:
    expected = f"afterwrite: expected a data directory of afterwrite, found no store in {tmp_path}: "
    assert cli(*arguments, "--data", tmp_path).stderr == f"{expected}name the one that the engine runs on\n"
    (tmp_path / "store").mkdir()
    assert cli(*arguments, "--data", tmp_path).stderr == f"{expected}name the one that the engine runs on\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "store"]
    (tmp_path / "inside" / "store").mkdir(parents=True)
    (tmp_path / "inside" / "store" / "data.mdb").touch()
    done = cli(*arguments, "--data", tmp_path)
    assert (done.returncode, done.stderr) == (2, f"{expected}did you mean {tmp_path / 'inside'}?\n")


@pytest.mark.parametrize("arguments", [("status",), ("parked", "list"), ("parked", "drop", "--all"), ("tail",)])
def test_a_file_is_no_data_directory(arguments: tuple[str, ...], tmp_path: Path, cli: Run) -> None:
    (tmp_path / "file").touch()
    done = cli(*arguments, "--data", tmp_path / "file")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: expected a data directory of afterwrite, found no store in ")


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


def _process(*arguments: str, stdout: int, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "afterwrite", *arguments]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=BOUND_S, cwd=cwd
    )


PRINTING = [("--help",), ("graph", "app.py"), ("synth", "app.py"), ("status",), ("status", "--json")]


@pytest.fixture(scope="module")
def printing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an app, and with its data directory, on which commands print something."""
    folder = tmp_path_factory.mktemp("printing")
    (folder / "app.py").write_text(APP_TEXT)
    with open_engine(folder / "data", load_app(folder / "app.py")):
        pass
    return folder


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_command_whose_reader_has_gone_ends_silently_as_other_commands_do(
    arguments: tuple[str, ...], printing: Path
) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = _process(*arguments, stdout=writes, cwd=printing)
    finally:
        os.close(writes)
    assert (done.returncode, done.stderr.removeprefix("loading\n")) == (128 + signal.SIGPIPE, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_output_that_cannot_be_written_is_one_line(arguments: tuple[str, ...], printing: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = _process(*arguments, stdout=full.fileno(), cwd=printing)
    assert done.returncode == 2
    assert done.stderr.removeprefix("loading\n") == (
        "afterwrite: expected to be able to write the output, got: No space left on device; "
        "free space and run this again\n"
    )


@pytest.mark.parametrize(
    ("arguments", "begins"), [(("graph", "app.py"), "flowchart"), (("synth", "app.py"), "AWSTemplateFormatVersion")]
)
def test_what_the_app_prints_is_not_in_the_output(arguments: tuple[str, ...], begins: str, printing: Path) -> None:
    done = _process(*arguments, stdout=subprocess.PIPE, cwd=printing)
    assert done.stdout.startswith(begins)
    assert done.stderr == "loading\n"


@pytest.mark.parametrize("command", ["synth", "package"])
def test_a_runtime_that_is_no_pythons_is_refused(command: str, cli: Run, tmp_path: Path) -> None:
    done = cli(command, APP, "-o", tmp_path / "out", "--runtime", "python2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "afterwrite: expected a runtime such as python3.13, got 'python2'\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [("synth", "app.py", "-o", "out"), ("package", "app.py", "-o", "out")])
def test_a_file_that_cannot_be_written_whole_is_one_line(command: tuple[str, ...], printing: Path) -> None:
    limited = f"ulimit -f 4; exec {sys.executable} -m afterwrite {' '.join(command)}"
    done = subprocess.run(
        ["bash", "-c", limited], capture_output=True, text=True, check=False, timeout=BOUND_S, cwd=printing
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
    assert done.stderr.startswith("loading\nafterwrite: expected to be able to write the output, got: File too large")


def test_a_command_whose_output_is_closed_does_its_work(printing: Path) -> None:
    closed = f"exec {sys.executable} -m afterwrite synth app.py -o template.yaml <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", closed], check=False, timeout=BOUND_S, cwd=printing).returncode == 0
    assert (printing / "template.yaml").read_text().startswith("AWSTemplateFormatVersion")
