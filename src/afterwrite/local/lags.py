"""How far the embedded engine's consumers are behind, how full its disk is, and alarms told to a topic."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from afterwrite.app import DEAD_LETTERS, App
from afterwrite.core.effects import Publish, StampedEffect
from afterwrite.core.lag import Alarm, AlarmState, Lag
from afterwrite.local.fan_out import FanOut
from afterwrite.local.mapping_ledger import progress
from afterwrite.local.steps import put_all
from afterwrite.store import change_log, given_up, kinesis, kinesis_intake, ledger, queues, waiting_messages
from afterwrite.store.environment import Environment, ReadTransaction
from afterwrite.store.tables import Catalog, Table

# A look costs no more than this many steps for each consumer, however far it is behind.
_COUNTED_MAX = 10_000
_LANES_MAX = 1_000


class EmbeddedLags:
    """The LagSource of the embedded engine. What is behind is counted up to 10,000, parked lanes up to 1,000."""

    def __init__(self, environment: Environment, app: App, directory: Path) -> None:
        self._environment = environment
        self._directory = directory
        self._tables = [table.name for table in app.tables if table.routes or table.pipes]
        self._queues = [function.queue_name for function in app.engine_functions]
        self._queues_for_others = [queue.name for queue in app.queues if queue.name not in self._queues]
        self._mappings = declared_mappings(app)

    def lags(self) -> Sequence[Lag]:
        """The lag of every table's routes, of every function's queue, and of every function on a stream.

        Nobody here is behind with a queue whose consumers are outside; only its dead letters are counted.
        """
        now_ms = self._environment.now_ms()
        with self._environment.read() as transaction:
            catalog = self._environment.state["catalog"]
            of_tables = [
                table_lag(transaction, catalog[name], now_ms, counted_max=_COUNTED_MAX, lanes_max=_LANES_MAX)
                for name in self._tables
                if name in catalog
            ]
            of_queues = [queue_lag(transaction, name, now_ms, lanes_max=_LANES_MAX) for name in self._queues]
            of_others = [
                Lag(name, "queue", 0, 0, dead_letters=queues.depth(transaction, name + DEAD_LETTERS))
                for name in self._queues_for_others
            ]
            of_mappings = [
                lag
                for declared in self._mappings
                if (lag := self._mapping_lag(transaction, declared, now_ms)) is not None
            ]
        return [*of_tables, *of_queues, *of_others, *of_mappings]

    def free_bytes(self) -> int:
        """What is left on the disk of the data directory. Raises OSError."""
        return shutil.disk_usage(self._directory).free

    def _mapping_lag(self, transaction: ReadTransaction, declared: Mapping[str, str], now_ms: int) -> Lag | None:
        catalog = self._environment.state["catalog"]
        return mapping_lag(transaction, declared, catalog, now_ms, counted_max=_COUNTED_MAX, batches_max=_LANES_MAX)


def table_lag(
    transaction: ReadTransaction,
    table: Table,
    now_ms: int,
    *,
    counted_max: int | None = None,
    lanes_max: int | None = None,
) -> Lag:
    """How far a table's routes are behind; what waits in the Kinesis stream that its changes come by counts as well."""
    behind = age_ms = 0
    if table.stream is not None:
        position = ledger.position(transaction, table.name)
        oldest = change_log.first_after(transaction, table.stream, position)
        if oldest is not None:
            age_ms = max(0, now_ms - oldest[1] // 1000)
            behind = change_log.count_after(transaction, table.stream, position, limit=counted_max)
        arriving, since_us = kinesis_intake.behind(transaction, table, limit=counted_max)
        behind += arriving
        age_ms = age_ms if since_us is None else max(age_ms, now_ms - since_us // 1000)
    parked = [each.at_ms for each in islice(ledger.parked_heads(transaction, table.name), lanes_max)]
    return Lag(
        consumer=table.name,
        kind="table",
        records_behind=behind,
        age_ms=age_ms,
        retention_ms=table.retention_s * 1000,
        parked_lanes=len(parked),
        parked_age_ms=max(0, now_ms - min(parked)) if parked else None,
    )


def queue_lag(transaction: ReadTransaction, queue: str, now_ms: int, *, lanes_max: int | None = None) -> Lag:
    """How far a queue's function is behind. What its sender told to wait is not, what waits after a failure is."""
    sent_ms = waiting_messages.oldest_waiting_ms(transaction, queue, now_ms)
    parked = [each.at_ms for each in islice(waiting_messages.parked_heads(transaction, queue), lanes_max)]
    return Lag(
        consumer=queue,
        kind="queue",
        records_behind=queues.depth(transaction, queue),
        age_ms=0 if sent_ms is None else max(0, now_ms - sent_ms),
        parked_lanes=len(parked),
        parked_age_ms=max(0, now_ms - min(parked)) if parked else None,
        dead_letters=queues.depth(transaction, queue + DEAD_LETTERS),
    )


def declared_mappings(app: App) -> list[Mapping[str, str]]:
    """The app's event source mappings, as they are kept for those who look from outside: `kind` is their stream's."""
    return [
        {"uuid": mapping.uuid, "function": mapping.function_name, "kind": stream.kind, "source": stream.name}
        for stream in [*app.tables, *app.kinesis_streams]
        for mapping in stream.event_source_mappings
    ]


def mapping_lag(
    transaction: ReadTransaction,
    declared: Mapping[str, str],
    catalog: Catalog,
    now_ms: int,
    *,
    counted_max: int | None = None,
    batches_max: int | None = None,
) -> Lag | None:
    """How far a function on a stream is behind, None where the stream is gone. Counted up to `counted_max` a shard.

    The batches that it gave up on, which are parked, are counted up to `batches_max`.
    """
    done = progress(transaction, declared["uuid"])
    behind, since_us, retention_ms = 0, None, 0
    if declared["kind"] == "kinesis":
        stream = kinesis.find(transaction, declared["source"])
        if stream is None:
            return None
        found = [
            kinesis.behind(transaction, stream, shard, after, limit=counted_max)
            for shard in stream.lineage
            if (after := done.by_shard.get(shard.number, shard.after)) is not None
        ]
        behind = sum(count for count, _ in found)
        since_us = min((at_us for _, at_us in found if at_us is not None), default=None)
        retention_ms = stream.retention_hours * 3_600_000
    else:
        table = catalog.get(declared["source"])
        if table is None or table.stream is None:
            return None
        oldest = change_log.first_after(transaction, table.stream, done.done_through or 0)
        if oldest is not None:
            behind = change_log.count_after(transaction, table.stream, done.done_through or 0, limit=counted_max)
            since_us = oldest[1]
        arriving, arriving_us = kinesis_intake.behind(transaction, table, limit=counted_max)
        behind += arriving
        since_us = min((at_us for at_us in (since_us, arriving_us) if at_us is not None), default=None)
        retention_ms = table.retention_s * 1000
    parked = [kept.batch.at_ms for kept in islice(given_up.batches(transaction, declared["uuid"]), batches_max)]
    return Lag(
        consumer=f"{declared['function']} on {declared['source']}",
        kind="mapping",
        records_behind=behind,
        age_ms=0 if since_us is None else max(0, now_ms - since_us // 1000),
        retention_ms=retention_ms,
        parked_lanes=len(parked),
        parked_age_ms=max(0, now_ms - min(parked)) if parked else None,
    )


class TopicAlarms:
    """The AlarmSink that publishes to a topic of the app, with the alarm's name and state as attributes."""

    def __init__(self, environment: Environment, fan_out: FanOut, topic: str, now_ms: Callable[[], int]) -> None:
        self._environment = environment
        self._fan_out = fan_out
        self._topic = topic
        self._now_ms = now_ms

    def tell(self, state: AlarmState, alarm: Alarm) -> None:
        """Publish that an alarm begins or ends to hold."""
        at_ms = self._now_ms()
        message = {
            "alarm": alarm.name,
            "state": state,
            "consumer": alarm.consumer,
            "why": alarm.why,
            "what_to_do": alarm.what_to_do,
            "at_ms": at_ms,
        }
        attributes = {"alarm": alarm.name, "state": state}
        effect = Publish(self._topic, message, f"{alarm.name} {state}: {alarm.consumer}", attributes)
        # Alarms of one table, queue or disk stay in order.
        lane = f"alarm/{alarm.consumer}"
        stamped = StampedEffect(f"{lane}/{alarm.name}/{state}/{at_ms}", lane, at_ms, effect)
        placements = self._fan_out.place(stamped)
        self._environment.write(lambda transaction: put_all(transaction, placements))
