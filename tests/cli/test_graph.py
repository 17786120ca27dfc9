"""`afterwrite graph`, and the pictures that the apps' READMEs hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.conftest import Run

APPS = Path(__file__).resolve().parents[2] / "apps"


def test_an_svg_on_standard_output(cli: Run) -> None:
    done = cli("graph", APPS / "inventory" / "app.py", "--format", "svg")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("<svg ")


@pytest.mark.parametrize("app", ["accounts", "inventory", "leaderboard", "manga_assist", "orders", "profiles"])
def test_the_readme_has_the_picture_of_the_declaration_as_it_is(app: str, cli: Run) -> None:
    (picture,) = re.findall(r"```mermaid\n(.*?)```", (APPS / app / "README.md").read_text(), re.DOTALL)
    declared = cli("graph", APPS / app / "app.py").stdout
    assert picture == declared, f"put what `afterwrite graph apps/{app}/app.py` prints into the README"
    svg = cli("graph", APPS / app / "app.py", "--format", "svg").stdout
    assert svg == (APPS / app / "flow.svg").read_text(), "renew flow.svg with `--format svg`"


def test_a_file_without_an_app_is_refused(tmp_path: Path, cli: Run) -> None:
    done = cli("graph", tmp_path / "none.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "found no file" in done.stderr
