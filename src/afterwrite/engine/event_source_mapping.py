"""The shell of an event source mapping: it reads shards, runs the function, keeps positions. The core decides.

A round handles what has happened, commits what that leads to (positions, attempts, failure messages) in one
transaction, and then starts invocations: so an attempt is counted before it runs, and what was acknowledged does not
run again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from afterwrite.core.event_source_mapping.declaration import EventSourceMapping
from afterwrite.core.event_source_mapping.failures import MappingIdentity, failure_message
from afterwrite.core.event_source_mapping.given_up import GivenUp
from afterwrite.core.event_source_mapping.given_up import given_up as given_up_batch
from afterwrite.core.event_source_mapping.lane import Deliver, GiveUp
from afterwrite.core.event_source_mapping.mapping import (
    FINISHED,
    Action,
    Event,
    Failed,
    Fetch,
    Listed,
    MappingState,
    OfLane,
    Returned,
    Throttled,
    Tick,
    kept_form,
    resumed,
    started_at,
    step,
)
from afterwrite.core.event_source_mapping.ports import FailureNotice, MappingLedger, ShardSource
from afterwrite.core.event_source_mapping.records import event_text
from afterwrite.core.event_source_mapping.responses import read_response
from afterwrite.core.ports import Services
from afterwrite.engine.handler_threads import Ended, HandlerThreads
from afterwrite.engine.mapped_function import MappedFunction
from afterwrite.engine.telemetry import Telemetry

Place: TypeAlias = tuple[int, int]
"""A lane: the numbers of its shard and of itself."""

# What only moved past records that nobody asked for is kept this often.
_IDLE_COMMIT_S: Final = 1.0
_ENDED_WITH_PROCESS: Final = "the invocation ended with the engine's process"


class MappingWork:
    """The unit of work of one mapping. `now_ms` is the store's clock; `new_id` gives ids of invocations."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        identity: MappingIdentity,
        source: ShardSource,
        ledger: MappingLedger,
        services: Services,
        telemetry: Telemetry,
        *,
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"mapping-{mapping.function_name}-{mapping.source_name}"
        self._mapping = mapping
        self._identity = identity
        self._source = source
        self._ledger = ledger
        self._function = MappedFunction(mapping, identity, services, now_ms, monotonic_s)
        self._telemetry = telemetry
        self._now_ms = now_ms
        self._new_id = new_id
        self._monotonic_s = monotonic_s
        self._threads = HandlerThreads(self.name, mapping.timeout_s, monotonic_s)
        self._settings = mapping.settings
        self._state = MappingState()
        self._is_resumed = False
        self._shard_ids: dict[int, str] = {}
        self._request_ids: dict[Place, str] = {}
        # What each lane's last invocation has failed with; a response that reports records says nothing.
        self._reasons: dict[Place, str] = {}
        # What could not be read: the state waits for it, so it is read again in the next round.
        self._to_fetch: list[Fetch] = []
        self._fetch_failure: Exception | None = None
        # What a round has led to and is not committed yet.
        self._to_start: dict[Place, Deliver] = {}
        self._notices: list[FailureNotice] = []
        self._kept: dict[int, Any] = {}
        self._is_urgent = self._has_uncommitted = False
        self._committed_at_s = 0.0

    @property
    def is_running(self) -> bool:
        """Whether an invocation runs."""
        return bool(self._threads.running)

    @property
    def due_ms(self) -> int | None:
        """When the mapping is to look again by the store's clock, None where only an event can tell."""
        return self._state.due_ms

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._threads.watch(event)
        self._source.watch(event)

    def run_once(self) -> float | None:
        """Handle what has happened, and start what follows; how long (s) until more is due.

        What a shard that cannot be read fails with is raised after everything else is done.
        """
        if not self._is_resumed:
            self._resume()
        listed = self._source.listed()
        if listed != self._state.listed:
            self._shard_ids |= {shard.number: shard.id for shard in listed}
            self._handle(Listed(listed))
        for ended in self._threads.ended():
            self._settle(ended)
        self._fetch_again()
        self._handle(Tick())
        self._throttle_what_cannot_start()
        self._commit()
        self._start()
        failure, self._fetch_failure = self._fetch_failure, None
        if failure is not None:
            raise failure
        return self._due_s()

    def stop(self, *, wait_s: float) -> None:
        """Settle what ends within `wait_s`, after the last `run_once`; what runs longer was not tried at all."""
        if not self._is_resumed:
            return
        wake = threading.Event()
        self._threads.watch(wake)
        deadline_s = time.monotonic() + wait_s
        while self._threads.running and (left_s := deadline_s - time.monotonic()) > 0:
            wake.clear()
            for ended in self._threads.ended():
                self._settle(ended)
            if self._threads.running:
                wake.wait(min(left_s, 1.0))
        for ended in self._threads.ended():
            self._settle(ended)
        for place in self._threads.running:
            self._handle(Throttled(*place))
        while self._to_start:
            self._handle(Throttled(*self._to_start.popitem()[0]))
        self._is_urgent = True
        self._commit()
        self._threads.stop()

    def _resume(self) -> None:
        """Go on from what was kept; at the very start that is what the StartingPosition says."""
        kept = self._ledger.load()
        settings = self._settings
        if kept is None:
            starts = self._source.start(settings.starting_position, settings.starting_at_ms)
            kept = {
                number: dict(FINISHED) if after is None else started_at(settings, after)
                for number, after in starts.items()
            }
            self._ledger.commit(kept, ())
            kept = self._ledger.load() or {}
        # A record that its stream keeps no longer is given up on, whatever the parameters say (S8).
        retention_ms = self._source.retention_ms()
        age_ms = retention_ms if settings.age_ms_max is None else min(settings.age_ms_max, retention_ms)
        self._settings = replace(settings, age_ms_max=age_ms)
        listed = self._source.listed()
        self._shard_ids = {shard.number: shard.id for shard in listed}
        state = resumed(self._settings, kept)
        self._kept = {number: dict(form) for number, form in kept.items()}
        trimmed_through = self._source.trimmed_through()
        for shard in state.shards.values():
            if shard.read_through < trimmed_through:
                self._telemetry.records_trimmed(self._mapping.function_name, self._shard_id(shard.number))
        self._state, self._is_resumed = state, True

    def _handle(self, event: Event) -> None:
        """Take a step, and those that reading leads to."""
        self._handle_all(deque([event]))

    def _handle_all(self, events: deque[Event]) -> None:
        while events:
            self._state, actions = step(self._settings, self._state, events.popleft(), self._now_ms())
            for action in actions:
                self._perform(action, events)

    def _perform(self, action: Action, events: deque[Event]) -> None:
        if isinstance(action, Fetch):
            self._fetch(action, events)
            return
        self._is_urgent = True
        if isinstance(action.action, Deliver):
            self._to_start[action.shard, action.lane] = action.action
        else:
            self._give_up(action, action.action)

    def _fetch(self, action: Fetch, events: deque[Event]) -> None:
        try:
            events.append(self._source.fetch(action.shard, action.after))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other shards go on
            self._to_fetch.append(action)
            self._fetch_failure = error

    def _fetch_again(self) -> None:
        """Read what could not be read in the round before."""
        to_fetch, self._to_fetch = self._to_fetch, []
        events: deque[Event] = deque()
        for action in to_fetch:
            self._fetch(action, events)
        self._handle_all(events)

    def _settle(self, ended: Ended) -> None:
        shard, lane = ended.key
        self._is_urgent = True
        if ended.is_throttled:
            self._handle(Throttled(shard, lane))
            return
        numbers = [record.sequence_number for record in self._state.shards[shard].lanes[lane].pieces[0].records]
        event: Event = Failed(shard, lane)
        reason = ended.failure
        if reason is None:
            verdict = read_response(self._settings, ended.value, numbers)
            event, reason = Returned(shard, lane, verdict), verdict.fault
        if reason is None:
            self._reasons.pop((shard, lane), None)
        else:
            first = numbers[0] if numbers else None
            function, shard_id = self._mapping.function_name, self._shard_id(shard)
            self._telemetry.batch_failed(function, shard_id, first, len(numbers), reason)
            self._reasons[shard, lane] = reason
        self._handle(event)

    def _give_up(self, of_lane: OfLane, given_up: GiveUp) -> None:
        place, at_ms = (of_lane.shard, of_lane.lane), self._now_ms()
        request_id = self._request_ids.get(place) if given_up.invocations else None
        shard_id = self._shard_id(of_lane.shard)
        message = failure_message(
            self._identity,
            shard_id=shard_id,
            records=given_up.records,
            condition=given_up.condition,
            invocations=given_up.invocations,
            is_function_error=given_up.is_function_error,
            request_id=request_id or self._new_id(),
            at_ms=at_ms,
            window=given_up.window,
        )
        source_arn = self._identity.stream_arn
        payload = event_text(given_up.records, given_up.window, shard_id=shard_id, source_arn=source_arn)
        lane = f"{self._identity.uuid}/{shard_id}/{of_lane.lane}"
        batch = self._batch(of_lane, given_up, message, at_ms) if given_up.records else None
        self._notices.append(FailureNotice(self._new_id(), lane, shard_id, at_ms, message, payload, batch))
        is_kept = self._mapping.destination is not None
        self._telemetry.records_given_up(self._mapping.function_name, message, is_kept=is_kept)

    def _batch(self, of_lane: OfLane, given_up: GiveUp, message: Mapping[str, Any], at_ms: int) -> GivenUp:
        """What operators see of records that were given up on."""
        otherwise = _ENDED_WITH_PROCESS if given_up.is_function_error else None
        reason = self._reasons.get((of_lane.shard, of_lane.lane), otherwise)
        return given_up_batch(
            function=self._mapping.function_name,
            source=self._mapping.source_name,
            shard=of_lane.shard,
            lane=of_lane.lane,
            lanes=self._settings.parallelization_factor,
            records=given_up.records,
            reason=reason if given_up.invocations else None,
            condition=given_up.condition,
            attempts=given_up.invocations,
            at_ms=at_ms,
            message=message,
        )

    def _throttle_what_cannot_start(self) -> None:
        for place in [each for each in self._to_start if not self._threads.may_run(each)]:
            del self._to_start[place]
            self._handle(Throttled(*place))

    def _commit(self) -> None:
        """Keep what has changed; what is not urgent waits a little."""
        forms: dict[int, Any] = {number: kept_form(shard) for number, shard in self._state.shards.items()}
        forms |= dict.fromkeys(self._state.finished, FINISHED)
        changed: dict[int, Any] = {
            number: form for number, form in forms.items() if form != self._kept.get(number)
        } | dict.fromkeys(self._kept.keys() - forms.keys())
        is_due = self._monotonic_s() - self._committed_at_s >= _IDLE_COMMIT_S
        self._has_uncommitted = bool(changed or self._notices) and not self._is_urgent and not is_due
        if (changed or self._notices) and not self._has_uncommitted:
            self._ledger.commit(changed, self._notices)
            self._kept, self._notices = forms, []
            self._committed_at_s = self._monotonic_s()
        if not self._has_uncommitted:
            self._is_urgent = False

    def _start(self) -> None:
        """Begin the invocations whose attempts are kept now."""
        to_start, self._to_start = self._to_start, {}
        for place, deliver in to_start.items():
            if not deliver.is_retry or place not in self._request_ids:
                self._request_ids[place] = self._new_id()
            request_id = self._request_ids[place]
            shard_id = self._shard_id(place[0])
            call = self._function.call(deliver.records, deliver.window, shard_id=shard_id, request_id=request_id)
            self._threads.run(place, call)

    def _shard_id(self, number: int) -> str:
        return self._shard_ids.get(number, str(number))

    def _due_s(self) -> float | None:
        dues = [] if (due_s := self._threads.due_s()) is None else [due_s]
        if (due_ms := self._state.due_ms) is not None:
            dues.append(max(0.001, (due_ms - self._now_ms()) / 1000))
        if self._has_uncommitted:
            dues.append(_IDLE_COMMIT_S)
        return min(dues) if dues else None
