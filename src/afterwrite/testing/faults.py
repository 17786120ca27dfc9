"""Faults by name, and the schedule that says when and where each happens. Pure.

A *point* is a place between the parts of an engine where a fault can happen:

    function:NAME      an attempt of a function          deliveries:NAME    what its queue hands out together
    step:TABLE         a step of a table's routes        flush:NAME         writing a buffer's files
    commit             a commit of the store             request:SERVICE.OPERATION    a request from outside
    arrivals:TABLE     changes that arrive by Kinesis together

NAME may hold `*`. A rule fires at some of the occasions at its points; where several would, a Poison does, or else the
first one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, TypeAlias, get_args

from afterwrite.errors import DeclarationError

When: TypeAlias = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """It is refused, and nothing happens; a request gets this error code."""

    code: str = "InternalServerError"


@dataclass(frozen=True, slots=True)
class Throttled:
    """It is refused because there is too much of it, and nothing happens."""


@dataclass(frozen=True, slots=True)
class Slow:
    """It happens, `seconds` later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """It happens, and who asked for it is told that it failed."""


@dataclass(frozen=True, slots=True)
class PartialBatch:
    """Of a batch the entries with these numbers, from 0, fail; the others happen."""

    entries: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Poison:
    """A record with this text in it fails, whenever it comes. Its rule needs no other number of times."""

    text: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """It happens twice, one after the other; what arrives together comes once more with what arrives next."""


@dataclass(frozen=True, slots=True)
class Reorder:
    """What is handed out together, of different lanes, or arrives together, comes in the reverse order."""


@dataclass(frozen=True, slots=True)
class Crash:
    """The process is killed, before it happens or after it has and before anybody knows."""

    when: When = "before"

    def __post_init__(self) -> None:
        if self.when not in get_args(When):
            raise DeclarationError(f"expected a Crash {' or '.join(get_args(When))} it happens, got {self.when!r}")


@dataclass(frozen=True, slots=True)
class DiskFull:
    """There is no space left for it, and nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The wall clock jumps by so many seconds, back where they are negative; then it happens."""

    seconds: float


Fault: TypeAlias = (
    Rejected
    | Throttled
    | Slow
    | AnswerLost
    | PartialBatch
    | Poison
    | Duplicate
    | Reorder
    | Crash
    | DiskFull
    | ClockJump
)
FAULTS: Final[tuple[type[Fault], ...]] = (
    Rejected,
    Throttled,
    Slow,
    AnswerLost,
    PartialBatch,
    Poison,
    Duplicate,
    Reorder,
    Crash,
    DiskFull,
    ClockJump,
)

_EVERYWHERE: Final = frozenset((Slow, Crash, ClockJump))
POINTS: Final[Mapping[str, frozenset[type[Fault]]]] = {
    "function": _EVERYWHERE | {Rejected, Throttled, AnswerLost, Poison, Duplicate},
    "deliveries": _EVERYWHERE | {Reorder},
    "arrivals": _EVERYWHERE | {Duplicate, Reorder},
    "step": _EVERYWHERE | {Rejected, AnswerLost, DiskFull},
    "flush": _EVERYWHERE | {Rejected, AnswerLost, DiskFull},
    "commit": _EVERYWHERE | {DiskFull},
    "request": _EVERYWHERE | {Rejected, Throttled, AnswerLost, PartialBatch, Duplicate},
}
"""Which faults can happen at which kind of point."""


@dataclass(frozen=True, slots=True)
class At:
    """A rule: `fault` happens at `point`, at the `nth` occasion, or at any with the probability `chance`.

    It fires `times` in all, None for ever. Without `nth` and `chance` it fires at the first occasions. A Poison fires
    at every occasion with its text, and none of the numbers counts. Raises DeclarationError for what cannot be.
    """

    point: str
    fault: Fault
    nth: int | None = None
    chance: float = 1.0
    times: int | None = 1

    def __post_init__(self) -> None:
        kind, _, name = self.point.partition(":")
        if kind not in POINTS or bool(name) == (kind == "commit"):
            points = ", ".join("commit" if each == "commit" else f"{each}:NAME" for each in POINTS)
            raise DeclarationError(f"expected a point of {points}, got {self.point!r}")
        if type(self.fault) not in POINTS[kind]:
            possible = ", ".join(sorted(each.__name__ for each in POINTS[kind]))
            raise DeclarationError(f"expected a fault of {possible} at {self.point}, got {self.fault!r}")
        if (self.nth is not None and self.nth < 1) or not 0 <= self.chance <= 1:
            raise DeclarationError(f"expected nth from 1 and a chance from 0 to 1, got {self.nth} and {self.chance}")
        if self.times is not None and self.times < 1:
            raise DeclarationError(f"expected times from 1, or None for ever, got {self.times}")

    def to_json(self) -> dict[str, Any]:
        """The rule as JSON holds it."""
        fields = asdict(self)
        return {**fields, "fault": {"name": type(self.fault).__name__, **fields["fault"]}}


def from_json(fields: Mapping[str, Any]) -> At:
    """The rule that `to_json` gave."""
    given = dict(fields["fault"])
    kinds = {kind.__name__: kind for kind in FAULTS}
    kind: Any = kinds[given.pop("name")]
    if "entries" in given:
        given["entries"] = tuple(given["entries"])
    return At(**{**fields, "fault": kind(**given)})


class Schedule:
    """Which fault happens at which occasion: decided by the rules, what has been, and a seed. For one thread at a time.

    `fired` is how often each rule has fired before, as in an earlier process of the same run.
    """

    def __init__(self, rules: Sequence[At], *, seed: int = 0, fired: Mapping[int, int] | None = None) -> None:
        self.rules = tuple(rules)
        self._random = random.Random(seed)  # noqa: S311 - a seed is what it is for
        self._fired = [0 if fired is None else fired.get(number, 0) for number in range(len(self.rules))]
        self._occasions = [0] * len(self.rules)

    def draw(self, point: str, text: str = "", *, poison_only: bool = False) -> tuple[int, Fault] | None:
        """What happens at an occasion at `point`, with the number of its rule; `text` is what a Poison looks into.

        With `poison_only` nothing else happens, and for the other rules it is no occasion.
        """
        fires = [
            number
            for number, rule in enumerate(self.rules)
            if (isinstance(rule.fault, Poison) or not poison_only)
            and fnmatchcase(point, rule.point)
            and self._fires(number, rule, text)
        ]
        if not fires:
            return None
        # Poison first: what lets its record through, such as a Duplicate, must not happen in its place.
        number = next((each for each in fires if isinstance(self.rules[each].fault, Poison)), fires[0])
        self._fired[number] += 1
        return number, self.rules[number].fault

    def _fires(self, number: int, rule: At, text: str) -> bool:
        if isinstance(rule.fault, Poison):
            return rule.fault.text in text
        self._occasions[number] += 1
        if rule.times is not None and self._fired[number] >= rule.times:
            return False
        if rule.nth is not None and self._occasions[number] < rule.nth:
            return False
        return rule.chance >= 1 or self._random.random() < rule.chance
