"""The contracts of a mapping: what it reads from, and what keeps what it has done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from afterwrite.core.event_source_mapping.given_up import GivenUp
from afterwrite.core.event_source_mapping.mapping import Fetched, ListedShard

if TYPE_CHECKING:
    import threading


# Of one reading (S23).
RECORDS_READ_MAX: Final = 1_000


class ShardSource(Protocol):
    """A stream of shards. Order: a shard's records ascend by position; those of one key are in one lane.

    Loss: what is past the stream's retention; `trimmed_through` tells. Concurrency: one thread.
    """

    @property
    def stream_arn(self) -> str:
        """The stream's ARN."""
        ...

    def retention_ms(self) -> int:
        """How long records are kept."""
        ...

    def listed(self) -> tuple[ListedShard, ...]:
        """All shards, oldest first."""
        ...

    def start(self, position: str, at_ms: int) -> Mapping[int, int | None]:
        """Where to begin by a StartingPosition in each shard that is there: after a position, None for not at all.

        A shard that is not in the answer is read from its beginning.
        """
        ...

    def fetch(self, shard: int, after: int, *, limit: int = RECORDS_READ_MAX) -> Fetched:
        """The shard's next records after a position, at most `limit`; the end of one that is gone."""
        ...

    def trimmed_through(self) -> int:
        """The position up to which records are gone, 0 where nothing is."""
        ...

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be more to read."""
        ...


@dataclass(frozen=True, slots=True)
class FailureNotice:
    """What a mapping gave up on, for the failure destination (S14) and, where there are records, for operators.

    `payload` is the event's text, for what keeps it. `lane` orders the mapping's messages; `id` is the message's own.
    `batch` are the records, None of a tumbling window's last invocation, which has none.
    """

    id: str
    lane: str
    shard_id: str
    at_ms: int
    message: Mapping[str, Any]
    payload: bytes
    batch: GivenUp | None


class MappingLedger(Protocol):
    """What keeps a mapping's positions, and takes its failure messages.

    Durability: when `commit` returns, all of it is durable. Batches that were given up on, and the messages about them
    to the engine's own queues, topics and functions, are in the same transaction as the positions, so none is lost or
    sent twice; a file may be written once more after a crash. Concurrency: one thread.
    """

    def load(self) -> Mapping[int, Mapping[str, Any]] | None:
        """What was kept of each shard, by its number; None where the mapping never ran."""
        ...

    def commit(self, kept: Mapping[int, Mapping[str, Any] | None], notices: Sequence[FailureNotice]) -> None:
        """Keep these of the shards, None for one that is forgotten, and send the messages. Raises StorageError."""
        ...


class GivenUpBatches(Protocol):
    """The batches that a mapping has given up on and that an operator asks for, in the order of the stream.

    Durability: when a method returns, what it says is durable. Concurrency: one thread.
    """

    def next_asked(self) -> tuple[str, GivenUp] | None:
        """The first one that is asked for, with its key."""
        ...

    def keep(self, key: str, batch: GivenUp | None) -> None:
        """Keep what has become of one, None where all of it is handled; nobody asks for it any more.

        One that was dropped meanwhile stays so. Raises StorageError.
        """
        ...

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever one may be asked for."""
        ...
