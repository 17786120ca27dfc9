"""One lane of a shard: what is delivered next, and what becomes of it. Within a lane everything is in order.

A lane's records wait until they are gathered into a *piece*, which one invocation gets. A failure may divide a piece,
so a lane has several; only the first is ever delivered. A record leaves the lane in one of two ways: a function has
acknowledged it, or it is given up on, which is an action (`GiveUp`). While a piece is being delivered the lane waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final, TypeAlias

from afterwrite.core.event_source_mapping.failures import AGE_EXCEEDED, RETRIES_EXHAUSTED, Condition
from afterwrite.core.event_source_mapping.parameters import MappingSettings
from afterwrite.core.event_source_mapping.records import PAYLOAD_BYTES_MAX, Record, WindowInvocation

# Between an error and the next attempt; AWS does not document its own wait.
BACKOFF_MS_FIRST: Final = 100
BACKOFF_MS_MAX: Final = 60_000
THROTTLED_MS: Final = 1_000
# A record is read some time after it was written; a window is over when nothing of it can come any more.
WINDOW_GRACE_MS: Final = 1_000
# Of a tumbling window's state; one that is larger ends its window (S11).
STATE_BYTES_MAX: Final = 1 << 20
# What a record adds to an event's text, and what surrounds the records of a tumbling window, its state aside.
_SEPARATOR_BYTES: Final = 1
_ENVELOPE_BYTES: Final = 1_024


@dataclass(frozen=True, slots=True)
class Piece:
    """Records that are delivered together. `retries` are those it has used up, `invocations` those of it (S5, S6).

    One without records is the last invocation of a tumbling window.
    """

    records: tuple[Record, ...]
    retries: int = 0
    invocations: int = 0
    not_before_ms: int = 0


@dataclass(frozen=True, slots=True)
class TumblingWindow:
    """A lane's open window (S11); `state` is JSON text. One whose state is too large is full, and ends early."""

    start_ms: int
    state: bytes = b"{}"
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class KeptPiece:
    """A piece as it is kept while the engine is off: the position of its last record, and what has been tried."""

    through: int
    retries: int
    invocations: int


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane. What was done `through` a position before the engine started is not done again.

    `kept` are the pieces of before, until their records are read again; `was_running` says that the first was being
    delivered when the engine ended. `opened_at_ms` is when the batching window opened, `iterator_age_ms` how old the
    last record was when its processing ended (S16).
    """

    through: int = 0
    waiting: tuple[Record, ...] = ()
    pieces: tuple[Piece, ...] = ()
    is_running: bool = False
    opened_at_ms: int = 0
    window: TumblingWindow | None = None
    iterator_age_ms: int | None = None
    waiting_bytes: int = 0
    kept: tuple[KeptPiece, ...] = ()
    was_running: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to deliver."""
        return not (self.waiting or self.pieces or self.window or self.kept)

    def done_through(self, read_through: int) -> int:
        """The position up to which the lane is done, where its shard is read up to `read_through`."""
        for piece in self.pieces:
            if piece.records:
                return piece.records[0].position - 1
        if self.waiting:
            return self.waiting[0].position - 1
        return max(self.through, read_through)


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the lane's shard is read: when its newest end was last reached, and whether that is its last."""

    at_tip_ms: int = 0
    is_ended: bool = False


@dataclass(frozen=True, slots=True)
class Deliver:
    """Invoke the function with the records; `is_retry` says that it has had them, and nothing else, before."""

    records: tuple[Record, ...]
    window: WindowInvocation | None
    is_retry: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Tell the failure destination about records that are not delivered any more (S14, S15).

    In a tumbling window `window` is what their invocation had; its last one has no records.
    """

    records: tuple[Record, ...]
    condition: Condition
    invocations: int
    is_function_error: bool
    window: WindowInvocation | None


LaneAction: TypeAlias = Deliver | GiveUp
Next: TypeAlias = tuple[Lane, list[LaneAction]]


def receive(settings: MappingSettings, lane: Lane, records: Sequence[Record], now_ms: int) -> Lane:
    """Add records, in order, of which the lane's own and admitted ones are taken."""
    new = tuple(record for record in records if record.position > lane.through)
    if not new:
        return lane
    opened_at_ms = lane.opened_at_ms
    if not lane.waiting and opened_at_ms + settings.batching_window_ms <= now_ms:
        opened_at_ms = now_ms
    waiting_bytes = lane.waiting_bytes + sum(len(record.text) for record in new)
    return replace(lane, waiting=lane.waiting + new, waiting_bytes=waiting_bytes, opened_at_ms=opened_at_ms)


def advance(settings: MappingSettings, lane: Lane, reading: Reading, now_ms: int) -> tuple[Lane, list[LaneAction], int]:
    """What is to be done now, and when to look again (ms; 0 where only an event can tell)."""
    actions: list[LaneAction] = []
    while not lane.is_running and not lane.kept:
        if not lane.pieces:
            lane, due_ms = _gather(settings, lane, reading, now_ms)
            if not lane.pieces:
                return lane, actions, due_ms
        head = lane.pieces[0]
        live = _live(settings, head.records, now_ms)
        if len(live) < len(head.records):
            expired = head.records[: len(head.records) - len(live)]
            actions.append(GiveUp(expired, AGE_EXCEEDED, head.invocations, False, _window_invocation(settings, lane)))
            rest = (replace(head, records=live),) if live else ()
            lane = replace(lane, pieces=rest + lane.pieces[1:])
            continue
        if _has_failed_for_too_long(settings, lane, now_ms):
            actions.append(GiveUp((), AGE_EXCEEDED, head.invocations, False, _window_invocation(settings, lane)))
            lane = replace(lane, pieces=lane.pieces[1:], window=None)
            continue
        if head.not_before_ms > now_ms:
            return lane, actions, min(head.not_before_ms, _expires_at_ms(settings, head.records, head.not_before_ms))
        begun = replace(head, invocations=head.invocations + 1)
        lane = replace(lane, pieces=(begun, *lane.pieces[1:]), is_running=True)
        actions.append(Deliver(head.records, _window_invocation(settings, lane), head.invocations > 0))
    return lane, actions, 0


def succeed(lane: Lane, now_ms: int, state: bytes | None) -> Lane:
    """The first piece is acknowledged; `state` is its tumbling window's new one, None where there is no window."""
    head = lane.pieces[0]
    lane = _with_state(lane, state)
    if not head.records:
        lane = replace(lane, window=None)
    return _settled(lane, head.records, lane.pieces[1:], now_ms)


def fail_from(
    settings: MappingSettings,
    lane: Lane,
    index: int,
    now_ms: int,
    *,
    is_function_error: bool,
    state: bytes | None = None,
) -> Next:
    """The first piece has failed from its record `index` on.

    The records before are acknowledged, and the counters start again (S1, S5). A piece that failed from its first
    record on is divided (S6), or has used up a retry.
    """
    head = lane.pieces[0]
    if index > 0:
        lane = _with_state(lane, state)
        rest = Piece(head.records[index:], not_before_ms=now_ms + BACKOFF_MS_FIRST)
        return _settled(lane, head.records[:index], (rest, *lane.pieces[1:]), now_ms), []
    if settings.bisects and len(head.records) > 1:
        middle = len(head.records) // 2
        halves = (Piece(head.records[:middle]), Piece(head.records[middle:]))
        return _settled(lane, (), halves + lane.pieces[1:], now_ms), []
    if settings.retries_max is not None and head.retries >= settings.retries_max:
        window = _window_invocation(settings, lane)
        given_up = GiveUp(head.records, RETRIES_EXHAUSTED, head.invocations, is_function_error, window)
        if not head.records:
            lane = replace(lane, window=None)
        return _settled(lane, head.records, lane.pieces[1:], now_ms), [given_up]
    wait_ms = min(BACKOFF_MS_MAX, BACKOFF_MS_FIRST * 2 ** min(head.retries, 20))
    again = replace(head, retries=head.retries + 1, not_before_ms=now_ms + wait_ms)
    return _settled(lane, (), (again, *lane.pieces[1:]), now_ms), []


def throttle(lane: Lane, now_ms: int) -> Lane:
    """The function could not be invoked: that uses up no retry, only the records' age (S7)."""
    head = lane.pieces[0]
    again = replace(head, invocations=head.invocations - 1, not_before_ms=now_ms + THROTTLED_MS)
    return _settled(lane, (), (again, *lane.pieces[1:]), now_ms)


def take_up(settings: MappingSettings, lane: Lane, reading: Reading, read_through: int, now_ms: int) -> Next:
    """Make the pieces of before the start again, once all their records are read."""
    if not lane.kept or (read_through < lane.kept[-1].through and not reading.is_ended):
        return lane, []
    pieces: list[Piece] = []
    waiting = lane.waiting
    for kept in lane.kept:
        records = tuple(takewhile(lambda record, kept=kept: record.position <= kept.through, waiting))  # type: ignore[misc]
        waiting = waiting[len(records) :]
        is_final = kept.through == 0
        if records or is_final:
            pieces.append(Piece(records, kept.retries, kept.invocations))
    was_running = lane.was_running and bool(pieces)
    taken = lane.waiting[: len(lane.waiting) - len(waiting)]
    lane = replace(_without_waiting(lane, taken, tuple(pieces), lane.window), kept=(), was_running=False)
    # The process ended with the invocation: that is how a function fails that ends its process.
    return fail_from(settings, lane, 0, now_ms, is_function_error=True) if was_running else (lane, [])


def _settled(lane: Lane, ended: Sequence[Record], pieces: tuple[Piece, ...], now_ms: int) -> Lane:
    """The lane after an invocation: the next batching window opens (S10)."""
    age_ms = max(0, now_ms - ended[-1].arrived_at_ms) if ended else lane.iterator_age_ms
    return replace(lane, pieces=pieces, is_running=False, opened_at_ms=now_ms, iterator_age_ms=age_ms)


def _live(settings: MappingSettings, records: tuple[Record, ...], now_ms: int) -> tuple[Record, ...]:
    """The records without the first ones that are too old."""
    if settings.age_ms_max is None:
        return records
    for index, record in enumerate(records):
        if record.arrived_at_ms + settings.age_ms_max > now_ms:
            return records[index:]
    return ()


def _has_failed_for_too_long(settings: MappingSettings, lane: Lane, now_ms: int) -> bool:
    """Whether a window's last invocation has been tried, and the window is older than a record may be."""
    head, window = lane.pieces[0], lane.window
    if head.records or window is None or not head.invocations or settings.age_ms_max is None:
        return False
    return window.start_ms + settings.tumbling_window_ms + settings.age_ms_max <= now_ms


def _expires_at_ms(settings: MappingSettings, records: tuple[Record, ...], otherwise_ms: int) -> int:
    if settings.age_ms_max is None or not records:
        return otherwise_ms
    return records[0].arrived_at_ms + settings.age_ms_max


def _gather(settings: MappingSettings, lane: Lane, reading: Reading, now_ms: int) -> tuple[Lane, int]:
    """Make a piece of what waits, if it is time; else when it is (ms; 0 where only an event can tell)."""
    if lane.window is not None and _is_over(settings, lane, lane.window, reading):
        return replace(lane, pieces=(Piece(()),)), 0
    if not lane.waiting:
        return lane, 0 if lane.window is None else _closes_at_ms(settings, lane.window)
    batch, is_complete = _batch(settings, lane)
    due_ms = lane.opened_at_ms + settings.batching_window_ms
    if not is_complete and not reading.is_ended and now_ms < due_ms:
        return lane, due_ms
    window = lane.window
    if settings.tumbling_window_ms and window is None:
        window = TumblingWindow(_window_start_ms(settings, batch[0]))
    return _without_waiting(lane, batch, (Piece(batch),), window), 0


def _without_waiting(
    lane: Lane, taken: Sequence[Record], pieces: tuple[Piece, ...], window: TumblingWindow | None
) -> Lane:
    """The lane with its first waiting records in pieces."""
    waiting_bytes = lane.waiting_bytes - sum(len(record.text) for record in taken)
    waiting = lane.waiting[len(taken) :]
    return replace(lane, pieces=pieces, waiting=waiting, waiting_bytes=waiting_bytes, window=window)


def _batch(settings: MappingSettings, lane: Lane) -> tuple[tuple[Record, ...], bool]:
    """As many waiting records as one invocation may have, and whether that is all it may have (S10)."""
    room_bytes = PAYLOAD_BYTES_MAX - _ENVELOPE_BYTES - (0 if lane.window is None else len(lane.window.state))
    window_ms = _window_start_ms(settings, lane.waiting[0])
    for index, record in enumerate(lane.waiting):
        room_bytes -= len(record.text) + _SEPARATOR_BYTES
        is_full = index == settings.batch_size or (index > 0 and room_bytes < 0)
        if is_full or _window_start_ms(settings, record) != window_ms:
            return lane.waiting[:index], True
    return lane.waiting, len(lane.waiting) == settings.batch_size


def _window_start_ms(settings: MappingSettings, record: Record) -> int:
    length_ms = settings.tumbling_window_ms
    return record.arrived_at_ms // length_ms * length_ms if length_ms else 0


def _closes_at_ms(settings: MappingSettings, window: TumblingWindow) -> int:
    return window.start_ms + settings.tumbling_window_ms + WINDOW_GRACE_MS


def _is_over(settings: MappingSettings, lane: Lane, window: TumblingWindow, reading: Reading) -> bool:
    """Whether a tumbling window has had its last record. One of before the clock was set back lies ahead, and has."""
    if window.is_full:
        return True
    if lane.waiting:
        return _window_start_ms(settings, lane.waiting[0]) != window.start_ms
    is_ahead = 0 < reading.at_tip_ms < window.start_ms - WINDOW_GRACE_MS
    return reading.is_ended or is_ahead or reading.at_tip_ms >= _closes_at_ms(settings, window)


def _window_invocation(settings: MappingSettings, lane: Lane) -> WindowInvocation | None:
    window = lane.window
    if window is None:
        return None
    is_final = not lane.pieces[0].records
    end_ms = window.start_ms + settings.tumbling_window_ms
    return WindowInvocation(window.start_ms, end_ms, window.state, is_final, is_final and window.is_full)


def _with_state(lane: Lane, state: bytes | None) -> Lane:
    """The lane with its window's new state; one that is too large ends the window."""
    if state is None or lane.window is None:
        return lane
    return replace(lane, window=replace(lane.window, state=state, is_full=len(state) > STATE_BYTES_MAX))
