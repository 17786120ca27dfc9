"""The contract of a search index, whichever carries it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from afterwrite.core.batching import Entry
from afterwrite.core.effects import StampedEffect
from afterwrite.core.target_failures import TargetFailure


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found; scores compare within one answer."""

    id: str
    score: float
    document: Mapping[str, Any]


class SearchIndex(Protocol):
    """Documents, found by their words.

    Order and duplicates: a document is never older than it was, in whatever order and however often effects come.
    Durability: what `send` says was performed is kept. Concurrency: `send` is called by one thread at a time, `search`
    by any number. What was sent is found soon, not at once.
    """

    def entry(self, effect: StampedEffect) -> Entry:
        """The effect as it is sent. Raises InvalidValue."""
        ...

    def send(self, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        """Make one request; why each entry failed, None for one that was performed."""
        ...

    def search(self, words: str, *, limit: int = 10) -> Sequence[Hit]:
        """The documents that hold all words, the best first.

        `"words in quotes"` stand beside each other; `manga*` is every word that begins so. Raises TargetError.
        """
        ...
