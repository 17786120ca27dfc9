"""The contracts between the engine and what carries it. Each docstring is the contract."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from afterwrite.core.batching import Entry, Limits
from afterwrite.core.changes import Change
from afterwrite.core.effects import StampedEffect
from afterwrite.core.failures import Failure
from afterwrite.core.lag import Alarm, AlarmState, Lag
from afterwrite.core.outcomes import Outcome
from afterwrite.core.parked import EVERYTHING, ParkedEntry, Portion, Selection
from afterwrite.core.placements import Placement
from afterwrite.core.reordering import Arrival
from afterwrite.core.target_failures import TargetFailure

if TYPE_CHECKING:
    import threading

    from afterwrite.core.table_client import TableClient


class ReadChange(NamedTuple):
    """A change as a source gives it: its position in the source, and the lane that orders it."""

    position: int
    lane: str
    change: Change


@dataclass(frozen=True, slots=True)
class ParkedChange:
    """A change that its lane cannot get past; `failure` is None for one that follows the failed one.

    `attempts` is how often it was tried, `at_ms` since when it is parked, None for one that is parked now.
    """

    position: int
    lane: str
    change: Change
    failure: Failure | None
    attempts: int = 0
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What some changes lead to: effects, parked changes, and the move of the position.

    `released` are parked changes that have run after all; a step that releases them moves no position. A change in
    `parked` may be parked already: then its failure is the new one.
    """

    consumer: str
    before: int
    after: int
    placements: Sequence[Placement]
    parked: Sequence[ParkedChange] = ()
    released: Sequence[ParkedChange] = ()


class ChangeSource(Protocol):
    """Where changes come from: one table's stream.

    Order: positions ascend, and the changes of one item come in the order in which they happened.
    Duplicates: none. Loss: none above the retention; `read` raises where changes after the position were trimmed.
    """

    def read(self, after: int, *, limit: int, bytes_max: int) -> Sequence[ReadChange]:
        """The changes after a position, at most `limit`, of `bytes_max` bytes in all; empty where there are none yet.

        One change is given whatever its size.
        """
        ...

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be more to read."""
        ...


@dataclass(frozen=True, slots=True)
class ArrivalPage:
    """Changes as they arrived, up to the position `through` and the time `read_to_us` (µs).

    `is_cut` says that there is more to read. `unreadable` are the sequence numbers of records that are no changes.
    """

    arrivals: Sequence[Arrival]
    through: int
    read_to_us: int
    is_cut: bool
    unreadable: Sequence[str] = ()


class Arrivals(Protocol):
    """Where a table's changes arrive in no certain order, and the log that takes them in order, each once.

    Order: of arrival when they are read, of `take` in the log. Duplicates: any when they are read; of those that are
    taken, one that was taken before is left out. Durability: on return of `take`. Concurrency: one thread.
    """

    def taken_through(self) -> int:
        """The position up to which everything was taken."""
        ...

    def read(self, after: int, *, limit: int, bytes_max: int) -> ArrivalPage:
        """What arrived after a position, about `limit` changes of about `bytes_max` bytes."""
        ...

    def take(self, changes: Sequence[Change], before: int, after: int) -> None:
        """Append changes to the log, and move from the position `before` to `after`, in one transaction.

        Raises StorageError, also where another position was reached than `before`.
        """
        ...

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever something may have arrived."""
        ...


class StepSink(Protocol):
    """What makes a step happen. Durability: when `commit` returns, the whole step is durable; else nothing of it is.

    Effects on embedded services happen in the same transaction as the position's move, so exactly once.
    Concurrency: one thread a consumer.
    """

    def place(self, effect: StampedEffect) -> Sequence[Placement]:
        """Where an effect goes: pure, and the last chance to refuse it. Raises AfterwriteError or TypeError."""
        ...

    def position(self, consumer: str) -> int:
        """The position of the last change the consumer is done with."""
        ...

    def parked_lanes(self, consumer: str) -> frozenset[str]:
        """The lanes that are parked for the consumer."""
        ...

    def parked(self, consumer: str, lane: str, *, after: int, limit: int, bytes_max: int) -> Sequence[ParkedChange]:
        """A lane's parked changes after a position, in order, at most `limit`, of `bytes_max` bytes in all.

        One change is given whatever its size; none only where there is none.
        """
        ...

    def take_redrives(self, consumer: str) -> Sequence[str]:
        """The lanes that an operator wants to be tried again, each request handed out once."""
        ...

    def watch_redrives(self, consumer: str, event: threading.Event) -> None:
        """Set `event` whenever there may be lanes to take."""
        ...

    def commit(self, step: Step, meanwhile: Callable[[], None] | None = None) -> None:
        """Make the step happen, in one transaction; `meanwhile`, which must not raise, is called while it does.

        Raises StorageError where the store does not serve, or holds another position or other parked changes than
        the step is made for. Anything else that it raises is the step's own fault: nothing of it happened.
        """
        ...


class ParkedWork(Protocol):
    """What was given up and waits for an operator.

    Order: entries come in the order of their places, those of a lane in the lane's order; redriven they run in it.
    Durability: what `redrive` and `drop` answer is durable, and each is one transaction of at most `limit` entries;
    a request for more goes on after the portion's `next`. Concurrency: any thread, beside the engine that runs.
    """

    def entries(self, selection: Selection = EVERYTHING, *, after: str = "") -> Iterator[ParkedEntry]:
        """The entries that are meant, after a place."""
        ...

    def redrive(self, selection: Selection = EVERYTHING, *, after: str = "", limit: int) -> Portion:
        """Let the entries that are meant run again, what waits behind them after them."""
        ...

    def drop(
        self, selection: Selection = EVERYTHING, *, after: str = "", limit: int, whole_lane: bool = False
    ) -> Portion:
        """Delete the entries that are meant; what waits behind them goes on, or is deleted as well."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message handed to a function, of age since `sent_at_ms`; `receipt` is the queue's own, to settle it with."""

    message_id: str
    lane: str
    attempt: int
    sent_at_ms: int
    payload: Any
    receipt: Any


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a delivery.

    `result` (JSON text) is kept in the idempotency record of one that is done, and its `placements` happen with that.
    """

    delivery: Delivery
    outcome: Outcome
    result: bytes = b"null"
    placements: Sequence[Placement] = ()


class WorkQueue(Protocol):
    """What feeds a function: a durable queue.

    Order: within a lane strictly, one message at a time; across lanes in parallel. Duplicates: a message comes
    again after its outcome is Retry, after Halt (as if it had not been handed out), or where the process died with
    it; then it comes alone, before the others, so that a message that ends the process takes nobody else's attempts.
    One that is done is not handed out again while its record is kept. Durability: an attempt is counted before it is
    handed out; a settlement is durable on return. Concurrency: one thread at a time.
    """

    def exchange(self, settled: Iterable[Settled], *, limit: int) -> Sequence[Delivery]:
        """Settle what is finished and receive at most `limit` messages, in one transaction."""
        ...

    def expect(self, limit: int) -> Sequence[Delivery]:
        """What was received since the last call; then at most `limit` less those are, as they are sent."""
        ...

    def tell_received(self, take: Callable[[Sequence[Delivery]], None]) -> None:
        """Call `take` with what was received once that is durable, on any thread; it is handed out afterwards."""
        ...

    def next_ready_ms(self) -> int | None:
        """When the next message may be received (ms since the epoch), None where nothing waits."""
        ...

    def report_stuck(self, threads: int) -> None:
        """Keep how many of the function's threads are stuck, for operators. It is 0 at the start."""
        ...

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be more to receive."""
        ...


class LagSource(Protocol):
    """How far consumers are behind, and what the disk has left. One thread. A look's cost is bounded."""

    def lags(self) -> Sequence[Lag]:
        """The lag of every consumer."""
        ...

    def free_bytes(self) -> int:
        """What is left on the disk that everything is kept on. Raises OSError."""
        ...


class AlarmSink(Protocol):
    """What alarms are told to. Durability: one that is told is durable on return; else it raises. Order: as told."""

    def tell(self, state: AlarmState, alarm: Alarm) -> None:
        """Say that an alarm begins or ends to hold."""
        ...


class Targets(Protocol):
    """What performs effects outside of this process.

    Order: a target of `in_order` keeps the order in which requests reach it. Duplicates: an effect may be performed
    and its answer lost, so one that is sent again may happen twice; it carries its id. Durability: what `send` says
    has been performed is kept by the target's service. Concurrency: `send` is called from any number of threads.
    """

    @property
    def in_order(self) -> frozenset[str]:
        """The targets that keep the order of what they get."""
        ...

    def place(self, effect: StampedEffect) -> tuple[str, Entry]:
        """The target of an effect, and what it is sent: pure, and the last chance to refuse it.

        Raises AfterwriteError or TypeError.
        """
        ...

    def limits(self, target: str) -> Limits:
        """What one request to a target may hold."""
        ...

    def send(self, target: str, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        """Make one request; why each entry failed, None for one that was performed."""
        ...


@dataclass(frozen=True, slots=True)
class Completed:
    """The message has been done, with this result (JSON text)."""

    result: bytes = b"null"


@dataclass(frozen=True, slots=True)
class InProgress:
    """Another is at it, until the end of its lease (ms since the epoch)."""

    lease_until_ms: int


@dataclass(frozen=True, slots=True)
class Begun:
    """It may be tried: the `attempt`, from 1, and the lease under which it is."""

    attempt: int
    lease_until_ms: int


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a message: whether it is done, how often it failed, and which parts were done nevertheless."""

    done: bool
    failures: int = 0
    parts: frozenset[str] = frozenset()


class Ledger(Protocol):
    """What consumers have done with their messages: the idempotency records.

    Duplicates: of those who begin one message at a time, one gets it; the others see it in progress, or done.
    A process that dies leaves it in progress until its lease ends, then another may begin it: what was done and not
    recorded is done again, under the same id, and nothing is lost. A lease that has ended is no right to `fail` the
    message that another has begun since. Durability: on return. Concurrency: any number of processes and threads.
    Raises StorageError where the ledger does not answer.
    """

    def begin(self, consumer: str, message_id: str, *, lease_ms: int) -> Begun | InProgress | Completed:
        """Begin a message, for `lease_ms`."""
        ...

    def complete(self, consumer: str, message_id: str, *, keep_ms: int, result: bytes = b"null") -> None:
        """Record that a message is done, with its result (JSON text), for `keep_ms`."""
        ...

    def fail(self, consumer: str, message_id: str, begun: Begun, *, keep_ms: int) -> None:
        """End an attempt without a result, so that another may begin at once; the count of attempts is kept."""
        ...

    def look(self, consumer: str, message_ids: Collection[str]) -> Mapping[str, Record]:
        """The records of many messages; those without one are left out."""
        ...

    def complete_all(self, consumer: str, message_ids: Collection[str], *, keep_ms: int) -> None:
        """Record that many messages are done."""
        ...

    def note(self, consumer: str, message_id: str, *, failures: int, parts: Collection[str], keep_ms: int) -> int:
        """Add failures to a message's count, and parts to those that were done; how many failures it is now."""
        ...


class ParkedLanes(Protocol):
    """Lanes whose change failed for good, with that change and the later ones, whole, until they are redriven.

    Order: a lane's changes by their positions. Duplicates: a change that is parked already stays as it is.
    Durability: on return. Concurrency: one writer a lane, beside one that redrives it: a lane whose last change is
    released while another follows is either still parked with that one, or `follow` says that it is not.
    Raises StorageError where the table does not answer.
    """

    def parked_lanes(self, consumer: str, lanes: Collection[str]) -> frozenset[str]:
        """Which of `lanes` are parked for the consumer."""
        ...

    def park(self, consumer: str, changes: Sequence[ParkedChange]) -> None:
        """Park a lane with changes of it, the failed one first."""
        ...

    def follow(self, consumer: str, changes: Sequence[ParkedChange]) -> bool:
        """Add changes to a lane if it is parked; False where it is not any more, and nothing was added."""
        ...

    def parked(self, consumer: str, lane: str, *, after: int, limit: int, bytes_max: int) -> Sequence[ParkedChange]:
        """A lane's changes after a position, in order, at most `limit`, of `bytes_max` bytes in all, but one."""
        ...

    def note_failure(self, consumer: str, lane: str, position: int, failure: Failure) -> None:
        """Keep why a parked change failed again, in place of why it did before; nothing if it was taken out."""
        ...

    def release(self, consumer: str, lane: str, position: int) -> None:
        """Take a change out, because it has run or is given up; a lane without changes is parked no more."""
        ...

    def lanes(self, consumer: str | None = None) -> Iterator[tuple[str, str, int]]:
        """Every parked lane, of one consumer or of all: consumer, lane, and how many changes wait."""
        ...


class Sink(Protocol):
    """What takes records out of a buffer into files, each exactly once.

    Durability: `flush` returns after the files and the removal from the buffer are durable; after a crash at any
    point the next `flush` finishes what was begun. Concurrency: one thread.
    """

    def next_flush_ms(self, now_ms: int) -> int | None:
        """When the buffer is to be flushed by its limits of time and size, None where it is empty."""
        ...

    def flush(self) -> int:
        """Write what waits, at most one batch; how many records that was."""
        ...

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever the buffer may have to be flushed earlier."""
        ...


class Services(Protocol):
    """What a function may use."""

    def table(self, name: str) -> TableClient:
        """The table `name`."""
        ...

    def transact(self, writes: Sequence[Mapping[str, Any]]) -> None:
        """Apply all writes or none, each in the form of TransactWriteItems. Raises TransactionCanceled."""
        ...

    def directory(self, name: str) -> Path:
        """A directory for files of the app, made where it is missing."""
        ...


class AnchorStore(Protocol):
    """Where an audit log's signed digests are kept besides, out of reach of whoever can change the log.

    Both methods may take long and raise AfterwriteError or OSError where the store does not answer.
    """

    def put(self, log: str, number: int, digest: bytes) -> None:
        """Keep a digest, durably. One that is there already is left as it is."""
        ...

    def latest(self, log: str) -> bytes | None:
        """The digest with the highest number, as it was first put; None where there is none."""
        ...
