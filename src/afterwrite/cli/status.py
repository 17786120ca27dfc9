"""`afterwrite status`: how far everything has come, and what needs an operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from afterwrite.cli.parameters import Data, Flag, data_directory
from afterwrite.cli.rendering import (
    bytes_text,
    count_text,
    print_json,
    print_line,
    print_table,
    printable,
)
from afterwrite.core.lag import Lag, alarms, disk_alarms, duration
from afterwrite.inspection import DataReader, open_data
from afterwrite.inspection.status import ConsumerStatus, LeftParkedStatus, MappingStatus, Status

_LANES_NAMED_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that does not mend itself: why, and what an operator does."""

    why: str
    what_to_do: str


def status(*, data: Data = None, json: Flag = False, check: Flag = False) -> int:
    """Show how far everything has come, and what needs you.

    Works beside a running engine and on a stopped one's directory, and changes nothing. A table's lag is the number
    of its changes that the routes have not had yet; the iterator age is how long the oldest of them has waited, the
    time to loss how long it is until that one is past its retention. Of a queue's messages some wait, some are in
    flight (a function works on them), and dead letters have failed for good. A parked lane is a partition key with a
    change that a route failed on, or a message that a function did: it waits, whole, with the key's later ones. Every
    route and pipe has a line, whether it has run or not, with the changes that it is for: those that the app declared
    when its engine was last started.

    Parameters
    ----------
    json
        Print one JSON object.
    check
        Exit with 1 if something needs an operator: an alarm (changes that wait for more than 60 s or half of their
        retention, messages of a function that wait for more than 15 minutes, or what the app declares instead), a dead
        letter, a parked lane, records of a stream that a Lambda function was not able to handle, a queue with messages
        that the app does not declare any more, an attempt that hangs, a disk with less than 256 MiB left
        (or what the app declares).
    """
    directory = data_directory(data)
    with open_data(directory) as reader:
        found = reader.status()
        parked = [each.table for each in found.consumers if each.parked_lanes]
        left = [each.table for each in found.left_parked]
        failures = {table: _failures(reader, table) for table in (*parked, *left)}
    needed = concerns(found, failures)
    if json:
        print_json({"data": str(directory), **asdict(found), "needs_operator": [asdict(each) for each in needed]})
    else:
        _show(directory, found)
        for concern in needed:
            print_line(("needs an operator: ", "bold red"), concern.why)
            print_line(f"  {concern.what_to_do}")
    return 1 if check and needed else 0


def _failures(reader: DataReader, table: str) -> dict[str, str]:
    """The error of each of the table's first parked lanes."""
    failed = ((each.lane, each.error) for each in reader.parked(table) if each.error is not None)
    return dict(islice(failed, _LANES_NAMED_MAX))


def concerns(found: Status, failures: Mapping[str, Mapping[str, str]]) -> list[Concern]:
    """What needs an operator. `failures` gives the errors of a table's first parked lanes, by lane."""
    return [
        *_late_consumers(found),
        *_parked_lanes(found, failures),
        *_left_unread(found),
        *_stuck(found),
        *_undeclared(found),
        *_dead_letters(found),
        *_given_up(found),
        *_full_disk(found),
    ]


def _full_disk(found: Status) -> Iterator[Concern]:
    if found.free_bytes is not None:
        for alarm in disk_alarms(found.free_bytes, found.thresholds):
            yield Concern(alarm.why, alarm.what_to_do)


def _late_consumers(found: Status) -> Iterator[Concern]:
    lags = [
        *(
            Lag(each.table, "table", each.lag_records, each.iterator_age_ms, each.retention_ms)
            for each in found.consumers
        ),
        *(
            Lag(each.name, "queue", each.waiting, each.oldest_age_ms)
            for each in found.queues
            if each.function is not None
        ),
        *(
            Lag(f"{each.function} on {each.source}", "mapping", each.lag_records, each.oldest_age_ms, each.retention_ms)
            for each in found.event_source_mappings
        ),
    ]
    for alarm in alarms(lags, found.thresholds):
        starts = found.engine is None
        yield Concern(alarm.why, "start the engine: afterwrite run APP --data DIR" if starts else alarm.what_to_do)


def _parked_lanes(found: Status, failures: Mapping[str, Mapping[str, str]]) -> Iterator[Concern]:
    for each in found.consumers:
        if each.parked_lanes:
            yield Concern(
                _parked_text(each, failures),
                "mend the route that fails and start the engine again: then what is parked runs, in order; or skip "
                f"the failed ones: afterwrite parked drop --in {each.table}",
            )
    for left in found.left_parked:
        yield Concern(
            f"{_parked_text(left, failures)}, and the app has no routes on that table any more",
            "declare them again under the old names: then what is parked runs, in order; or give all of it up: "
            f"afterwrite parked drop --in {left.table} --whole-lane",
        )
    for queue in found.queues:
        if queue.parked_lanes:
            yield Concern(
                f"{count_text(queue.parked_lanes, 'lane')} of the queue {queue.name} with "
                f"{count_text(queue.parked_messages, 'message')} parked",
                f"read why and mend it, then let them go on: afterwrite parked show --in {queue.name}; "
                f"afterwrite parked redrive --in {queue.name}",
            )


def _left_unread(found: Status) -> Iterator[Concern]:
    for each in found.left_unread:
        yield Concern(
            f"{count_text(each.changes, 'change')} of the table {each.table} that its routes had not run on when the "
            f"app was first run without them: the oldest is lost in {duration(each.time_to_loss_ms)}",
            "declare routes on the table again, and they run on these changes first; or do nothing if the changes are "
            "not needed: this is said until they are past their retention",
        )


def _parked_text(each: ConsumerStatus | LeftParkedStatus, failures: Mapping[str, Mapping[str, str]]) -> str:
    named = [f"{printable(lane)}: {printable(error)}" for lane, error in failures.get(each.table, {}).items()]
    more = [] if len(named) == each.parked_lanes else ["…"]
    return (
        f"{count_text(each.parked_lanes, 'lane')} of the table {each.table} with "
        f"{count_text(each.parked_changes, 'change')} parked ({'; '.join(named + more)})"
    )


def _undeclared(found: Status) -> Iterator[Concern]:
    for each in found.queues:
        waiting = each.waiting + each.in_flight
        if waiting and not each.declared:
            yield Concern(
                f"{count_text(waiting, 'message')} in the queue {each.name}, which the app does not declare any more",
                "declare its queue or function under the old name again, so that they are worked on",
            )
    for buffer in found.buffers:
        if buffer.records and not buffer.declared:
            yield Concern(
                f"{count_text(buffer.records, 'record')} in the buffer {buffer.name}, which the app does not declare "
                "any more",
                "declare its delivery stream or audit log under the old name again, so that they are written to files",
            )


def _stuck(found: Status) -> Iterator[Concern]:
    for each in found.queues:
        if each.stuck_threads and found.engine is not None:
            yield Concern(
                f"{count_text(each.stuck_threads, 'attempt')} of the function {each.function} hanging past the "
                "timeout: a lane with two waits for them; with 32 the function runs one at a time, with 512 it waits",
                "find what the function waits for without a timeout of its own; restarting the engine ends them",
            )


def _dead_letters(found: Status) -> Iterator[Concern]:
    for each in found.queues:
        if each.dead_letters:
            yield Concern(
                f"{count_text(each.dead_letters, 'dead letter')} of the queue {each.name}",
                f"read them and mend what they failed on: afterwrite parked show --in {each.name}",
            )


def _given_up(found: Status) -> Iterator[Concern]:
    for each in found.given_up:
        lost = "" if not each.lost else f", {each.lost} of them past their retention"
        yield Concern(
            f"{count_text(each.records, 'record')} of {each.source} that the function {each.function} was not able to "
            f"handle{lost}",
            "read why and mend it, then have them handled while the stream keeps them: afterwrite parked show --by "
            f"{each.function}; afterwrite parked redrive --by {each.function}; parked drop forgets them",
        )


def _show(directory: Path, found: Status) -> None:
    print_line("data    ", str(directory))
    print_line("engine  ", *_engine(found.engine))
    print_line()
    _show_tables(found)
    print_table(
        "Routes",
        ["route", "table", "when", "parked lanes"],
        [(printable(each.name), each.table, printable(each.when), each.parked_lanes) for each in found.routes],
    )
    print_table(
        "Queues",
        ["queue", "function", "waiting", "oldest", "in flight", "parked lanes", "parked", "dead letters"],
        [
            (
                each.name,
                (each.function or "-") if each.declared else "not declared any more",
                each.waiting,
                duration(each.oldest_age_ms),
                each.in_flight,
                each.parked_lanes,
                each.parked_messages,
                each.dead_letters,
            )
            for each in found.queues
        ],
    )
    print_table(
        "Buffers",
        ["buffer", "records", "size", "oldest"],
        [
            (
                each.name if each.declared else f"{each.name} (not declared any more)",
                each.records,
                bytes_text(each.bytes),
                duration(each.oldest_age_ms),
            )
            for each in found.buffers
        ],
    )
    _show_mappings(found.event_source_mappings, {(each.function, each.source): each.records for each in found.given_up})


def _show_tables(found: Status) -> None:
    print_table(
        "Tables",
        [
            "table",
            "position",
            "last",
            "lag",
            "iterator age",
            "time to loss",
            "parked lanes",
            "parked changes",
            "oldest parked",
        ],
        [
            (
                each.table,
                each.position,
                each.last_position,
                each.lag_records,
                duration(each.iterator_age_ms),
                _age(each.time_to_loss_ms),
                each.parked_lanes,
                each.parked_changes,
                _age(each.parked_age_ms),
            )
            for each in found.consumers
        ]
        + [
            (
                f"{each.table} (no routes any more)",
                *("-",) * 5,
                each.parked_lanes,
                each.parked_changes,
                duration(each.parked_age_ms),
            )
            for each in found.left_parked
        ]
        + [
            (
                f"{each.table} (no routes any more)",
                *("-",) * 2,
                each.changes,
                duration(each.oldest_age_ms),
                duration(each.time_to_loss_ms),
                *("-",) * 3,
            )
            for each in found.left_unread
        ],
    )


def _show_mappings(mappings: Sequence[MappingStatus], given_up: Mapping[tuple[str, str], int]) -> None:
    if mappings:
        print_table(
            "Event source mappings",
            ["function", "stream", "lag", "oldest", "time to loss", "batches in hand", "iterator age", "given up"],
            [
                (
                    each.function,
                    each.source,
                    each.lag_records,
                    duration(each.oldest_age_ms),
                    _age(each.time_to_loss_ms),
                    each.batches_in_hand,
                    _age(each.iterator_age_ms),
                    given_up.get((each.function, each.source), 0),
                )
                for each in mappings
            ],
        )


def _age(age_ms: int | None) -> str:
    return "-" if age_ms is None else duration(age_ms)


def _engine(engine: Mapping[str, Any] | None) -> Sequence[str | tuple[str, str]]:
    if engine is None:
        return [("stopped", "yellow")]
    if "pid" not in engine:
        return [("starting", "yellow")]
    listening = f"listening on {engine['listening']}" if "listening" in engine else "on no socket"
    app = f"app {engine['app']}" if "app" in engine else "no app"
    return [("running", "green"), f", process {engine['pid']}, {listening} since {engine['since']}, {app}"]
