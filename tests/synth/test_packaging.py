"""The package: what it holds, that it is the same each time, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from afterwrite.errors import CommandError
from afterwrite.synth import packaging
from afterwrite.synth.imports import imported
from afterwrite.synth.packaging import Entry, Target

ROOT = Path(__file__).resolve().parents[2]
MANGA_ASSIST = Entry(ROOT / "apps", "manga_assist.app", "app")
TARGET = Target(f"python3.{sys.version_info.minor}", "x86_64")

APP = """
from typing import TYPE_CHECKING
from afterwrite import App
from tools import words
if TYPE_CHECKING:
    import not_there
app = App("shop")
def later():
    import csv, lazily
"""


@pytest.fixture
def shop(tmp_path: Path) -> Entry:
    root = tmp_path / "shop"
    (root / "tools").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "shop.py").write_text(APP)
    (root / "lazily.py").write_text("from tools.deep import x as y\n")
    (root / "unused.py").write_text("raise SystemExit\n")
    (root / "tools" / "__init__.py").write_text("")
    (root / "tools" / "words.py").write_text("from . import other\n")
    (root / "tools" / "other.py").write_text("")
    (root / "tools" / "deep.py").write_text("x = 1\n")
    (root / "tools" / "unused.py").write_text("")
    (root / "data" / "words.txt").write_text("words")
    return Entry(root, "shop", "app")


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def own(path: Path) -> set[str]:
    return {name for name in names(path) if not name.startswith(("afterwrite/", "orjson"))}


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    packed = [packaging.package(MANGA_ASSIST, tmp_path / f"{number}.zip", TARGET) for number in range(2)]
    assert packed[0] == packed[1]
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()
    assert packed[0].size_bytes < 500_000


def test_it_holds_what_lambda_needs_and_nothing_else(tmp_path: Path) -> None:
    packaging.package(MANGA_ASSIST, tmp_path / "app.zip", TARGET)
    found = names(tmp_path / "app.zip")
    assert {"afterwrite_entry.py", "afterwrite/aws_lambda.py", "manga_assist/summaries.py"} <= found
    assert any(name.startswith("orjson/orjson.") for name in found)
    ours = [f"afterwrite/{each}" for each in ("cli", "local", "server", "store", "synth", "table")]
    unwanted = (*ours, "boto", "duckdb", "lmdb", "manga_assist/demo", "pyarrow", "redis/", "uvloop", "yaml")
    assert [name for name in found if name.startswith(unwanted) or name.endswith((".md", ".pyc", ".pyi"))] == []


def test_the_package_alone_makes_the_handler(tmp_path: Path) -> None:
    """Beside boto3, which Lambda brings, and which is not imported before it is used."""
    packaging.package(MANGA_ASSIST, tmp_path / "app.zip", TARGET)
    with zipfile.ZipFile(tmp_path / "app.zip") as archive:
        archive.extractall(tmp_path / "code")
    check = "import sys, afterwrite_entry; print(callable(afterwrite_entry.handler), 'boto3' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", check], cwd=tmp_path / "code", env={}, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True False\n", "")


@pytest.mark.parametrize("app", ["accounts", "inventory", "leaderboard", "manga_assist", "orders", "profiles"])
def test_the_package_of_each_demonstration_makes_its_handler(app: str, tmp_path: Path) -> None:
    data = ["orders/templates"] if app == "orders" else []
    packaging.package(Entry(ROOT / "apps", f"{app}.app", "app"), tmp_path / "app.zip", TARGET, include=data)
    assert made(tmp_path) == ("True\n", "")


@pytest.mark.parametrize(
    "text",
    [
        "from afterwrite import App, Webhook\ntarget = Webhook",
        "import afterwrite\nfrom afterwrite import App\ntarget = afterwrite.Webhook",
        "import afterwrite as aw\nApp, target = aw.App, aw.Webhook",
    ],
)
def test_what_the_package_imports_when_it_is_used_is_taken_where_an_app_uses_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "shop.py").write_text(f'{text}\napp = App("shop")\napp.target("tell", target("https://example.org"))\n')
    packaging.package(Entry(tmp_path, "shop", "app"), tmp_path / "app.zip", TARGET)
    assert made(tmp_path) == ("True\n", "")


def made(path: Path) -> tuple[str, str]:
    """What a process that has nothing but the package says of its handler."""
    with zipfile.ZipFile(path / "app.zip") as archive:
        archive.extractall(path / "code")
    check = "import afterwrite_entry; print(callable(afterwrite_entry.handler))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", check], cwd=path / "code", env={}, capture_output=True, text=True, check=False
    )
    return done.stdout, done.stderr


def test_what_is_imported_is_taken_also_later_and_by_relative_names(shop: Entry, tmp_path: Path) -> None:
    packaging.package(shop, tmp_path / "app.zip", TARGET)
    assert own(tmp_path / "app.zip") == {
        "afterwrite_entry.py",
        "lazily.py",
        "shop.py",
        "tools/__init__.py",
        "tools/deep.py",
        "tools/other.py",
        "tools/words.py",
    }


def test_data_and_modules_imported_by_name_are_included_on_request(shop: Entry, tmp_path: Path) -> None:
    packaging.package(shop, tmp_path / "app.zip", TARGET, include=["data", "tools.unused"])
    assert {"data/words.txt", "tools/unused.py"} <= own(tmp_path / "app.zip")


def test_a_library_comes_whole_with_what_it_requires(shop: Entry, tmp_path: Path) -> None:
    (shop.root / "lazily.py").write_text("import rich\n")
    packaging.package(shop, tmp_path / "app.zip", TARGET)
    found = own(tmp_path / "app.zip")
    assert {"rich/console.py", "pygments/lexer.py", "markdown_it/main.py"} <= found


def test_a_library_that_is_nowhere_is_an_error(shop: Entry, tmp_path: Path) -> None:
    (shop.root / "lazily.py").write_text("import nowhere_at_all\n")
    with pytest.raises(CommandError, match="imports nowhere_at_all, which is neither beside it nor installed"):
        packaging.package(shop, tmp_path / "app.zip", TARGET)
    assert not (tmp_path / "app.zip").exists()


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (Target("python3.9", "x86_64"), "--platform manylinux2014_x86_64 --python-version 3.9"),
        (Target(TARGET.runtime, "arm64"), "--platform manylinux2014_aarch64"),
    ],
)
def test_a_library_for_another_platform_is_an_error_that_says_how_to_get_the_right_one(
    target: Target, asked: str, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match=rf"orjson is made for .*{asked}"):
        packaging.package(MANGA_ASSIST, tmp_path / "app.zip", target)


@pytest.mark.parametrize(
    ("tag", "is_taken"),
    [
        ("cp313-cp313-manylinux_2_17_x86_64", True),
        ("py3-none-manylinux2014_x86_64", True),  # a library that Python loads by ctypes, or a program
        ("cp39-abi3-manylinux2014_x86_64", True),
        ("py3-none-any", True),
        ("cp314-abi3-manylinux2014_x86_64", False),
        ("cp312-cp312-manylinux2014_x86_64", False),
        ("cp313-cp313t-manylinux2014_x86_64", False),
        ("cp313-cp313-musllinux_1_2_x86_64", False),  # another C library than Lambda's
        ("cp313-cp313-manylinux2014_aarch64", False),
        ("cp313-cp313-macosx_11_0_x86_64", False),
    ],
)
def test_a_library_is_taken_where_lambda_can_load_it(tag: str, is_taken: bool) -> None:
    assert Target("python3.13", "x86_64").loads(tag) is is_taken


def test_a_runtime_that_is_no_pythons_is_an_error() -> None:
    with pytest.raises(CommandError, match=r"expected a runtime such as python3\.13, got 'nodejs22'"):
        Target("nodejs22", "x86_64").loads("cp313-cp313-manylinux2014_x86_64")


def test_imports_are_found_with_the_packages_they_are_in(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("import a.b.c\nfrom .d import e\nfrom .. import f\n")
    assert set(imported("top.inner.module", tmp_path / "module.py")) == {
        "a", "a.b", "a.b.c", "top", "top.inner", "top.inner.d", "top.inner.d.e", "top.f",
    }  # fmt: skip
