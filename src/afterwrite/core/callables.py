"""What code has to be so that it can be called: by its parameters, and not `async`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from afterwrite.errors import DeclarationError


def check_code(kind: str, code: Any, arguments: Sequence[str]) -> None:
    """Raise DeclarationError for code that cannot be called with these arguments, or whose work nobody would await.

    A route alone may be a generator: what it yields are its effects.
    """
    name = getattr(code, "__name__", type(code).__name__)
    if not callable(code):
        raise DeclarationError(f"expected the {kind} to be callable with ({', '.join(arguments)}), got {code!r}")
    if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
        raise DeclarationError(
            f"expected the {kind} {name} to be a plain def, got an async one, which nothing awaits: "
            "declare it without async, and run what has to be awaited with asyncio.run"
        )
    if kind != "route" and inspect.isgeneratorfunction(code):
        raise DeclarationError(
            f"expected the {kind} {name} to be a plain def, got a generator, whose code nothing runs: "
            "return what it answers, and yield nothing"
        )
    try:
        signature = inspect.signature(code)
    except (TypeError, ValueError):  # code in C may not say what it takes
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise DeclarationError(
            f"expected the {kind} {name} to take ({', '.join(arguments)}), "
            f"got {name}{parameters_text(signature.parameters.values())}"
        ) from None


def parameters_text(parameters: Iterable[inspect.Parameter]) -> str:
    """Parameters as a signature without annotations shows them."""
    return str(inspect.Signature([each.replace(annotation=each.empty) for each in parameters]))
