"""The library in C is used as long as it was made of the sources beside it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from afterwrite import accelerators
from afterwrite.accelerators import sources

pytestmark = pytest.mark.skipif(
    accelerators.library() is None, reason="the library in C was not made: there was no C compiler at the installation"
)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library and its sources, which are looked at anew."""
    folder = tmp_path / "accelerators"
    shutil.copytree(accelerators.PATH.parent, folder)
    monkeypatch.setattr(accelerators, "PATH", folder / accelerators.PATH.name)
    for function in (accelerators._is_usable, accelerators.library, accelerators.quick_library):
        monkeypatch.setattr(accelerators, function.__name__, function.__wrapped__)
    return folder


def test_a_library_of_the_sources_that_are_here_is_used(copied: Path) -> None:
    assert accelerators.library() is not None
    assert accelerators.quick_library() is not None


def test_a_library_of_other_sources_is_left_alone_and_said(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (copied / "crc32.c").open("a") as source:
        source.write("/* changed */\n")
    if accelerators.sources_of_library() == 0:
        pytest.skip("whoever made this library did not say of which sources; an installation does")
    assert accelerators.library() is None
    assert accelerators.quick_library() is None
    assert "install afterwrite again" in caplog.text


def test_sources_are_told_apart_by_their_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int a;")
    first = sources.number_of(tmp_path)
    (tmp_path / "a.c").rename(tmp_path / "b.c")
    second = sources.number_of(tmp_path)
    (tmp_path / "b.c").write_text("int b;")
    assert len({first, second, sources.number_of(tmp_path)}) == 3


def test_the_library_needs_no_headers_of_the_system_itself(tmp_path: Path) -> None:
    for name in ("aio_abi.h", "fs.h"):  # musl's compiler comes without them
        (tmp_path / "linux").mkdir(exist_ok=True)
        (tmp_path / "linux" / name).write_text("#error these are not everywhere")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    made_of = sorted(map(str, accelerators.PATH.parent.glob("*.c")))
    subprocess.run([compiler, "-std=c11", "-pthread", "-fsyntax-only", "-I", str(tmp_path), *made_of], check=True)
