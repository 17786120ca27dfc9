"""What declarations may say: names, counts, ages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import wraps
from typing import Any, Final, Literal, ParamSpec, TypeAlias, TypeVar, get_args

from afterwrite.core.callables import check_code, parameters_text
from afterwrite.core.outcomes import RetryPolicy
from afterwrite.core.sending import Sender
from afterwrite.errors import DeclarationError

Exhausted: TypeAlias = Literal["dead_letter", "park"]
"""What becomes of a message that failed for good: it goes to the dead letter queue and its lane goes on, or it stays
where it is and its lane waits behind it."""

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")
# By their annotations: what such parameters are given, and how a message calls it.
_PLAIN: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "str": ((str,), "a text"),
    "int": ((int,), "a whole number"),
    "float": ((int, float, Decimal), "a number"),
    "bool": ((bool,), "True or False"),
    "int | None": ((int, type(None)), "a whole number or None"),
    "float | None": ((int, float, Decimal, type(None)), "a number or None"),
    "Mapping[str, Any]": ((Mapping,), "a mapping"),
    "Mapping[str, Any] | None": ((Mapping, type(None)), "a mapping or None"),
    "Sequence[GlobalIndex]": ((Iterable,), "a list"),
    "Sequence[Sender]": ((Iterable,), "a list"),
    "Sequence[Queue | Function | DeliveryStream]": ((Iterable,), "a list"),
}
_ANY: Final[tuple[tuple[type, ...], str]] = ((object,), "anything")
_NAMED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}")
# It names files.
_DELIVERY_STREAM_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_KIND_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")


def declaration(method: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """A method that declares something, which says what it takes where it is called otherwise.

    Raises DeclarationError for parameters that it does not have or misses, for values of another type, and where a
    method that makes a decorator is used as one, without parentheses.
    """
    signature = inspect.signature(method)
    parameters = list(signature.parameters.values())[1:]
    called = method.__qualname__.removesuffix(".__init__")
    decorates = str(signature.return_annotation).startswith("Callable")

    @wraps(method)
    def checked(*given: _Given.args, **named: _Given.kwargs) -> _Made:
        if decorates and len(given) == 2 and inspect.isfunction(given[1]) and not named:
            required = [each.name for each in parameters if each.default is each.empty and each.kind in _NAMED]
            raise DeclarationError(
                f"expected parentheses: write @….{method.__name__}({', '.join(required)}), "
                f"got it without them on {given[1].__name__}"
            )
        try:
            arguments = signature.bind(*given, **named).arguments
        except TypeError as error:
            raise DeclarationError(f"expected {called}{parameters_text(parameters)}: {error}") from None
        for name, value in arguments.items():
            parameter = signature.parameters[name]
            kinds, expected = _PLAIN.get(parameter.annotation, _ANY)
            if parameter.kind in _NAMED and not isinstance(value, kinds):
                raise DeclarationError(f"expected {name} of {called} to be {expected}, got {value!r}")
        return method(*given, **named)

    return checked


def check_name(kind: str, name: str, taken: Sequence[str]) -> None:
    """Raise DeclarationError for a name that cannot be had, or is taken."""
    if not _NAME.fullmatch(name):
        raise DeclarationError(
            f"expected the {kind}'s name to be 1 to 255 letters, digits, '-', '_' or '.', no '.' first, got {name!r}"
        )
    if name in taken:
        raise DeclarationError(f"two declarations of the {kind} {name!r}: declare it once and use the value")


def check_delivery_stream_name(name: str) -> None:
    """Raise DeclarationError for a name that no delivery stream, and so no file of the lake, may have."""
    if not _DELIVERY_STREAM_NAME.fullmatch(name):
        raise DeclarationError(
            "expected the delivery stream's name to be 1 to 64 letters, digits, '-', '_' or '.', no '.' first, "
            f"got {name!r}"
        )


def at_least_one(what: str, value: int) -> int:
    """The value. Raises DeclarationError below 1."""
    if value < 1:
        raise DeclarationError(f"expected {what} of at least 1, got {value}")
    return value


def age_ms_max(age_max_s: float | None) -> int | None:
    """The age in milliseconds, None for no limit. Raises DeclarationError."""
    if age_max_s is not None and not age_max_s > 0:
        raise DeclarationError(f"expected age_max_s above 0, or None for no limit, got {age_max_s}")
    return None if age_max_s is None else int(age_max_s * 1000)


def exhaustion(given: Exhausted) -> Exhausted:
    """What was given. Raises DeclarationError where it is neither."""
    if given not in get_args(Exhausted):
        raise DeclarationError(f"expected exhausted to be one of {', '.join(get_args(Exhausted))}, got {given!r}")
    return given


def retry_policy(retries: int, timeout_s: float, backoff_s: float, age_max_s: float | None) -> RetryPolicy:
    """A function's retries as a policy. Raises DeclarationError."""
    if retries < 0 or timeout_s <= 0 or backoff_s < 0:
        raise DeclarationError(
            "expected retries and backoff_s of at least 0 and timeout_s above 0, "
            f"got {retries}, {backoff_s} and {timeout_s}"
        )
    return RetryPolicy(
        attempts_max=retries + 1, backoff_ms_first=int(backoff_s * 1000), age_ms_max=age_ms_max(age_max_s)
    )


def senders(given: Iterable[Sender]) -> tuple[Sender, ...]:
    """What a function says that it sends to. Raises DeclarationError for what is no target."""
    found = tuple(given)
    for sender in found:
        check_code("target", sender, ["request", "context"])
    return found


def attribute_names(parameter: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several as names. Raises DeclarationError."""
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    for name in names:
        if not isinstance(name, str):
            raise DeclarationError(f"expected {parameter} to be an attribute's name, or several, got {name!r}")
    return names


def conditions(parameter: str, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Conditions by attribute. Raises DeclarationError."""
    if given is not None and not isinstance(given, Mapping):
        raise DeclarationError(
            f"expected {parameter} to map attributes to conditions, such as {{'status': 'paid'}}, got {given!r}"
        )
    return given or {}


def kind_of(kind: type) -> str:
    """What messages call a kind of declared things: `audit log`."""
    return _KIND_CAPITAL.sub(" ", kind.__name__).lower()


def check_target(what: str, target: object, kinds: tuple[type, ...]) -> None:
    """Raise DeclarationError for a target that is none of these kinds of declared things."""
    if not isinstance(target, kinds):
        *others, last = [kind_of(kind) for kind in kinds]
        expected = f"{', '.join(others)} or {last}" if others else last
        is_undeclared = last == "function" and inspect.isfunction(target)
        remedy = "decorate it with @app.function()" if is_undeclared else "give what the app's declaration returned"
        raise DeclarationError(f"expected a {expected} {what}, got {target!r}: {remedy}")
