"""What a module imports, found in its source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path


def find(name: str, roots: Sequence[Path]) -> Path | None:
    """The file of a module below one of the folders: a package's `__init__.py`, a module, or a compiled one."""
    relative = Path(*name.split("."))
    for root in roots:
        place = root / relative
        if (place / "__init__.py").is_file():
            return place / "__init__.py"
        if place.with_suffix(".py").is_file():
            return place.with_suffix(".py")
        compiled = sorted(place.parent.glob(f"{place.name}.*.so")) if place.parent.is_dir() else []
        if compiled:
            return compiled[0]
        if place.is_dir():
            return place
    return None


def imported(name: str, file: Path) -> Iterator[str]:
    """The modules that the file imports when it is run or later, by full names, the packages they are in as well.

    What `from package import name` or `package.name` names may be a module or not: both are given. Imports for type
    checkers are not.
    """
    tree = ast.parse(file.read_bytes(), filename=str(file))
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    running = list(_running(tree))
    known = {
        alias.asname or alias.name: alias.name
        for each in running
        if isinstance(each, ast.Import)
        for alias in each.names
    }
    for node in running:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_packages(alias.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            yield f"{known[node.value.id]}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            steps = package.split(".") if package else []
            base = steps[: len(steps) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from _with_packages(module)
            for alias in node.names:
                yield f"{module}.{alias.name}"


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield other
                yield from _running(other)
            continue
        yield child
        yield from _running(child)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _with_packages(name: str) -> Iterator[str]:
    steps = name.split(".")
    for count in range(1, len(steps) + 1):
        yield ".".join(steps[:count])
