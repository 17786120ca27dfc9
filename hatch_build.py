"""Makes the library in C while the package is built or installed; without a C compiler the package is pure Python."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/afterwrite/accelerators")
LIBRARY = SOURCES / "accelerators.so"
OPTIONS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-pthread"]


class Accelerators(BuildHookInterface[Any]):
    """Compiles the sources in C into one library, beside them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the library, and name the platform that the wheel is for."""
        root = Path(self.root)
        library = root / LIBRARY
        library.unlink(missing_ok=True)
        compiler = _compiler()
        if compiler is None or sys.platform != "linux":
            self.app.display_warning("no C compiler: afterwrite will work without its library in C, slower")
            return
        sources = sorted(str(source) for source in (root / SOURCES).glob("*.c"))
        made = library.with_suffix(".new")
        told = f"-DSOURCES={_number_of(root / SOURCES)}ULL"
        subprocess.run([*compiler, *OPTIONS, told, "-o", str(made), *sources], check=True)  # noqa: S603 - a compiler and our files
        made.rename(library)
        if version != "editable":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
            build_data["artifacts"].append(f"/{LIBRARY}")


def _number_of(folder: Path) -> int:
    """What the package will expect the library to have been made of."""
    spec = importlib.util.spec_from_file_location("sources", folder / "sources.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(folder / "sources.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    number: int = module.number_of(folder)
    return number


def _compiler() -> list[str] | None:
    """The command of a C compiler: $CC, cc, or Zig's as a Python package."""
    for command in filter(None, (os.environ.get("CC"), "cc")):
        words = shlex.split(command)
        if shutil.which(words[0]) is not None:
            return words
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    return None
