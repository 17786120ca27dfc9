"""Results that are remembered for what requests say again and again, in memory that no request can make large."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Final, ParamSpec, TypeVar

REMEMBERED_MAX: Final = 4096
# Two expressions of 4 KB each, and as much again for names. Requests that say more are rare.
REMEMBERED_CHARACTERS_MAX: Final = 16_384

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class _TooLong(Exception):
    """Arguments too long to be kept."""


def remembered(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """A function of texts, and of tuples of them, that remembers its results for arguments that are not too long.

    Arguments that have no hash are passed on as they are. What it raises is not remembered.
    """

    @lru_cache(maxsize=REMEMBERED_MAX)
    def looked_up(*arguments: Any) -> Any:
        if not is_short(arguments):
            raise _TooLong
        return function(*arguments)  # type: ignore[call-arg]

    @wraps(function)
    def result(*arguments: Any) -> Any:
        try:
            return looked_up(*arguments)
        except (_TooLong, TypeError):
            return function(*arguments)  # type: ignore[call-arg]

    return result  # type: ignore[return-value]


def is_short(arguments: object) -> bool:
    """Whether arguments are short enough to be kept."""
    return _characters(arguments) <= REMEMBERED_CHARACTERS_MAX


def _characters(value: Any) -> int:
    if type(value) is tuple:
        return sum(map(_characters, value))
    return len(value) if type(value) is str else 0
