"""What the services that take messages, events and records from outside need of the engine: where these go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afterwrite.core.effects import StampedEffect
from afterwrite.core.placements import Placement
from afterwrite.store.environment import WriteTransaction


@dataclass(frozen=True, slots=True)
class Placing:
    """The engine's own fan-out, as its routes' effects go through it.

    `place` is where an effect goes, `place_event` where an event that is whole already goes by its bus's rules and
    archive, and `put` puts it there. The first two raise what effects raise that cannot be placed.
    """

    place: Callable[[StampedEffect], Sequence[Placement]]
    place_event: Callable[[str, Mapping[str, Any], StampedEffect], Sequence[Placement]]
    put: Callable[[WriteTransaction, Sequence[Placement]], None]
