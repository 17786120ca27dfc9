"""Failures of user code: what went wrong, in words, and which kind it is (`core/failure_kinds`).

Code may say itself which kind it is, by raising Throttled, Unavailable or Rejected; the errors of AWS's SDK, of HTTP
clients and of the standard library are known by their codes, statuses and names, without importing any of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from afterwrite.core.failure_kinds import DIRECTIVES, KIND_OF_CODE, KIND_OF_STATUS, Directive, Kind
from afterwrite.core.target_failures import TargetFailure
from afterwrite.errors import Rejected, ServiceError, Throttled, Unavailable

_REASON_CHARACTERS_MAX: Final = 2_000
# Nobody means to be left alone for longer, and a header may say any number, also one without an end.
_AFTER_S_MAX: Final = 86_400.0
# Where code is that no user wrote: this package, the standard library, what Lambda's runtime brings.
_LIBRARIES: Final = (
    __file__.rpartition("core/")[0],
    hashlib.__file__.removesuffix("hashlib.py"),
    "/var/runtime/",
    "<frozen ",
)
_FRAMES_MAX: Final = 30
_CAUSES_MAX: Final = 4

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt, in words that can be stored.

    `fingerprint` is the same for failures of the same exception at the same place, whatever they say. `raised_by`
    names the route or function. `after_ms` is how long the target asks to be left alone, 0 where it does not.
    """

    kind: Kind
    reason: str
    fingerprint: str
    traceback: str = ""
    raised_by: str = ""
    after_ms: int = 0

    @property
    def directive(self) -> Directive:
        """What is done about it."""
        return DIRECTIVES[self.kind]


def failure(kind: Kind, reason: str, *, raised_by: str = "") -> Failure:
    """A failure that no exception tells of, such as a timeout; its words are its place."""
    return Failure(kind, reason, _digest(kind, reason), raised_by=raised_by)


def failure_of_target(failed: TargetFailure) -> Failure:
    """A target's refusal of an effect."""
    return Failure(failed.kind, failed.reason, _digest(failed.target, failed.code), raised_by=failed.target)


def failure_of(error: BaseException, *, raised_by: str = "", reason: str | None = None) -> Failure:
    """What `error`, raised by user code, means; `reason` where it is to be said in other words."""
    return Failure(
        kind=kind_of(error),
        reason=reason_of(error) if reason is None else reason,
        fingerprint=_asked(lambda: _digest(raised_by, type(error).__name__, _function_of(error)), _digest(raised_by)),
        traceback=traceback_of(error),
        raised_by=raised_by,
        after_ms=_asked(lambda: _after_ms(error), 0),
    )


def _asked(question: Callable[[], _Answer], otherwise: _Answer) -> _Answer:
    """What an exception of the user's code answers, which may run more of that code, and fail in any way at that."""
    try:
        return question()
    except BaseException:  # noqa: BLE001 - whoever asks has an attempt to settle
        return otherwise


def _after_ms(error: BaseException) -> int:
    after_s = error.retry_after_s if isinstance(error, Throttled | Unavailable) else None
    return 0 if after_s is None else int(max(0.0, min(float(after_s), _AFTER_S_MAX)) * 1000)


_UNAVAILABLE_NAMES: Final = frozenset(
    ("ConnectionError", "HTTPClientError", "NetworkError", "Timeout", "TimeoutError", "TimeoutException")
)


def kind_of(error: BaseException) -> Kind:
    """Which kind of failure an exception of user code is. What nothing is known of is a bug."""
    return _asked(lambda: _kind_of(error), "bug")


def _kind_of(error: BaseException) -> Kind:
    if isinstance(error, Throttled):
        return "throttled"
    if isinstance(error, Unavailable):
        return "unavailable"
    if isinstance(error, Rejected):
        return "rejected"
    code, status = _answered(error)
    if code is not None and (kind := KIND_OF_CODE.get(code)) is not None:
        return kind
    kind = None if status is None else KIND_OF_STATUS.get(status)
    # A code that is not known tells more than its status, but for a server's error.
    if kind is not None and (code is None or kind == "unavailable"):
        return kind
    names = {each.__name__ for each in type(error).__mro__}
    return "bug" if names.isdisjoint(_UNAVAILABLE_NAMES) else "unavailable"


def _answered(error: BaseException) -> tuple[str | None, int | None]:
    """The code and the HTTP status that a service has answered with, each None where the exception tells none."""
    if isinstance(error, ServiceError):
        return error.code, error.status
    response: Any = getattr(error, "response", None)
    if isinstance(response, Mapping):  # the SDK's ClientError
        said, metadata = response.get("Error"), response.get("ResponseMetadata")
        code = said.get("Code") if isinstance(said, Mapping) else None
        status = metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
    else:
        code, status = None, getattr(response, "status_code", None)
        if status is None and type(error).__name__ == "HTTPError":  # the standard library's
            status = getattr(error, "code", None)
    return (code if isinstance(code, str) else None), (status if isinstance(status, int) else None)


def reason_of(error: BaseException) -> str:
    """What the user's code raised, in words that can be stored: bounded, and valid Unicode, whatever they were."""
    return _asked(lambda: _reason_of(error), "(an exception that fails when it is looked at)")


def _reason_of(error: BaseException) -> str:
    name = type(error).__name__
    text = _asked(lambda: str(error), "(without words: its __str__ fails)")
    reason = f"{name}: {text}" if text else name
    if (frame := _place(error)) is not None:
        reason += f" (at {frame[0].rpartition('/')[2]}:{frame[1]})"
    if len(reason) > _REASON_CHARACTERS_MAX:
        reason = f"{reason[:_REASON_CHARACTERS_MAX]}… ({len(reason)} characters)"
    return reason.encode("utf-8", "backslashreplace").decode()


def traceback_of(error: BaseException) -> str:
    """Where `error` came from, a line a frame, without source lines or values; of its causes, too; bounded."""
    return _asked(lambda: _traceback_of(error), "")


def _traceback_of(error: BaseException) -> str:
    lines: list[str] = []
    current: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if current is None:
            break
        frames = _frames(current)
        if len(frames) > _FRAMES_MAX:
            left_out = f"  ({len(frames) - _FRAMES_MAX} frames)"
            shown = [*map(_line, frames[:5]), left_out, *map(_line, frames[5 - _FRAMES_MAX :])]
        else:
            shown = list(map(_line, frames))
        lines = [*shown, type(current).__name__, *(["which led to:"] if lines else []), *lines]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def _line(frame: tuple[str, int, str]) -> str:
    return f"  {frame[0]}:{frame[1]} in {frame[2]}"


def _frames(error: BaseException) -> list[tuple[str, int, str]]:
    """File, line and function of every frame that `error` has passed, the one that raised it last."""
    found: list[tuple[str, int, str]] = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        found.append((code.co_filename, traceback.tb_lineno, code.co_qualname))
        traceback = traceback.tb_next
    return found


def _place(error: BaseException) -> tuple[str, int, str] | None:
    """The last frame of the user's own code: what a library raised, its caller can mend. Else the last one."""
    frames = _frames(error)
    own = [frame for frame in frames if not (frame[0].startswith(_LIBRARIES) or _is_installed(frame[0]))]
    return (own or frames)[-1] if frames else None


def _is_installed(file: str) -> bool:
    return "/site-packages/" in file or "/dist-packages/" in file


def _function_of(error: BaseException) -> str:
    """The file and the function at fault, without the line, which moves when the code above it is edited."""
    frame = _place(error)
    return "" if frame is None else f"{frame[0].rpartition('/')[2]}/{frame[2]}"


def _digest(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=4).hexdigest()
