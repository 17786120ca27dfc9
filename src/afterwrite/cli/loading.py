"""Loading an app's declaration from a Python file."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from afterwrite.app import App
from afterwrite.errors import DeclarationError


def load_app(path: Path) -> App:
    """The one App in the file at `path`. The file's folder (or its package's) comes first among the imports.

    Raises DeclarationError where there is no such file, or not exactly one App in it.
    """
    path = path.resolve()
    if not path.is_file():
        raise DeclarationError(f"expected a Python file with an App, found no file {path}: check the path")
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    sys.path.insert(0, str(root))
    module = importlib.import_module(".".join(parts))
    found = {name: value for name, value in vars(module).items() if isinstance(value, App)}
    if len(set(map(id, found.values()))) != 1:
        names = ", ".join(found) or "none"
        raise DeclarationError(f"expected exactly one App in {path}, found {names}: declare one, such as app = App(…)")
    return next(iter(found.values()))
