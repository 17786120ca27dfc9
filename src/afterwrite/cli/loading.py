"""Loading an app's declaration from a Python file."""

from __future__ import annotations

import importlib
import re
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final, cast

import afterwrite
from afterwrite.app import App
from afterwrite.cli.standard_streams import own_output
from afterwrite.errors import AfterwriteError, DeclarationError

_LIBRARIES: Final = [
    Path(afterwrite.__file__).parent,
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
]


@dataclass(frozen=True, slots=True)
class LoadedApp:
    """An App and where it is: `variable` of `module`, which is imported from the folder `root`."""

    app: App
    root: Path
    module: str
    variable: str


def load_app(path: Path) -> App:
    """The one App in the file at `path`; raises as `locate_app`."""
    return locate_app(path).app


def locate_app(path: Path) -> LoadedApp:
    """The one App in the file at `path`. The file's folder (or its package's) comes first among the imports.

    Raises DeclarationError where there is no such file, where it fails (with the place in the user's code), or where
    there is not exactly one App in it. What the file prints goes to standard error.
    """
    path = path.resolve()
    if not path.is_file():
        raise DeclarationError(f"expected a Python file with an App, found no file {path}: check the path")
    root, packages = path.parent, list[str]()
    while (root / "__init__.py").is_file():
        packages.insert(0, root.name)
        root = root.parent
    if not packages and path.stem in sys.stdlib_module_names:
        # Whoever asks for the standard library's module of this name must not be given the app instead.
        importlib.import_module(path.stem)
    sys.path.insert(0, str(root))
    found = {name: value for name, value in vars(_module(path, root, packages)).items() if isinstance(value, App)}
    if len(set(map(id, found.values()))) != 1:
        names = ", ".join(found) or "none"
        raise DeclarationError(f"expected exactly one App in {path}, found {names}: declare one, such as app = App(…)")
    variable, app = next(iter(found.items()))
    return LoadedApp(app, root, ".".join([*packages, path.stem]), variable)


def _module(path: Path, root: Path, packages: Sequence[str]) -> ModuleType:
    """The file as a module, under the name by which its siblings import it, if nothing else has that name."""
    name = ".".join([*packages, path.stem])
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if loaded is not None or not path.stem.isidentifier():
        name = ".".join([*packages, re.sub(r"\W", "_", str(path))])
    loader = SourceFileLoader(name, str(path))
    module = module_from_spec(cast("importlib.machinery.ModuleSpec", spec_from_file_location(name, loader=loader)))
    sys.modules[name] = module
    try:
        with own_output():
            loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise DeclarationError(_failure(error, path, root)) from error
    return module


def _failure(error: BaseException, path: Path, root: Path) -> str:
    """What failed, and where in the user's code."""
    places = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if _is_users(Path(frame.filename), root)
    ]
    if isinstance(error, SyntaxError) and error.filename is not None:
        places.append((error.filename, error.lineno))
        what = f"{type(error).__name__}: {error.msg}"
    elif isinstance(error, AfterwriteError):
        what = str(error)
    else:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    texts = [f"{file}:{line}" for file, line in places] or [str(path)]
    imported = "" if len(texts) == 1 else f" (from {texts[0]})"
    return f"{texts[-1]}{imported}: {what}"


def _is_users(file: Path, root: Path) -> bool:
    libraries = [each for each in _LIBRARIES if not root.is_relative_to(each)]
    return file.is_relative_to(root) and not any(file.is_relative_to(each) for each in libraries)
