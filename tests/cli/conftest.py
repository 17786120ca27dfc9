"""The command line, and an engine whose directory it looks at."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

import afterwrite
from afterwrite.cli import main
from bounds import BOUND_S
from engine_process import EngineUnderTest, wait_until

APP = Path(__file__).with_name("watched_app.py")

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def cli_process() -> Run:
    """Runs `afterwrite` with arguments to its end, as a process."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "afterwrite", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND_S)

    return run


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs `afterwrite` with arguments to its end in this process, which starting one each time takes longer than."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        given, paths = list(map(str, arguments)), list(sys.path)
        output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as ended:
            main(given)
        sys.path[:] = paths
        forget_modules(tmp_path_factory.getbasetemp())
        status = int(ended.value.code or 0)
        printed, told = (each.buffer.getvalue().decode() for each in (output, errors))
        return subprocess.CompletedProcess(given, status, printed, told)

    return run


def forget_modules(root: Path) -> None:
    """Forget the modules of files below `root`, as the end of a process does."""
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(root):
            del sys.modules[name]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A copy of the watched app, so that its gate is this test's own."""
    return Path(shutil.copy(APP, tmp_path))


@pytest.fixture
def engine(app: Path, tmp_path: Path) -> Iterator[EngineUnderTest]:
    """A running engine with nothing written yet."""
    with EngineUnderTest(app, tmp_path / "data") as started:
        yield started


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineUnderTest]:
    """A running engine with one change of each outcome, all of them settled. For tests that only look."""
    path = tmp_path_factory.mktemp("written")
    with EngineUnderTest(Path(shutil.copy(APP, path)), path / "data") as started:
        for sort_key in ("good", "bad", "park", "park-later"):
            partition_key = sort_key.removesuffix("-later")
            started.put("orders", PK=f"{partition_key}\x1b[1m", SK=sort_key, secret="s3cret")
        with afterwrite.open_data(started.data) as reader:
            wait_until(lambda: reader.idle() and bool(list(reader.messages("function-fail-dead-letters"))))
        yield started
