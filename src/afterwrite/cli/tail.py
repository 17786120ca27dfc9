"""`afterwrite tail`: changes as they are made, and what becomes of each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from cyclopts.types import PositiveInt

from afterwrite import config
from afterwrite.app import App
from afterwrite.cli.loading import load_app
from afterwrite.cli.parameters import Data, Flag
from afterwrite.cli.rendering import Styled, count_text, print_json, print_line, printable
from afterwrite.cli.tracing import Fate, Trace, TracedEffect, Tracer
from afterwrite.core import json_text
from afterwrite.core.changes import Change
from afterwrite.core.privacy import MaskedChange
from afterwrite.core.times import iso_milliseconds
from afterwrite.core.values import Item
from afterwrite.errors import CommandError
from afterwrite.inspection import DataReader, open_data

_POLL_S: Final = 0.1
# A change is shown when the engine is done with what follows from it, or when it is this old.
_SETTLE_MS: Final = 2_000
# What has not happened by then is looked at again this often, for the newest so many changes.
_UPDATE_EVERY_S: Final = 1.0
_FOLLOWED_MAX: Final = 500
_READ_AHEAD_MAX: Final = 500


def tail(
    app: Path | None = None,
    /,
    *,
    data: Data = None,
    table: str | None = None,
    from_start: Flag = False,
    images: Flag = False,
    limit: PositiveInt | None = None,
    json: Flag = False,
) -> None:
    """Show changes as they are made, and what becomes of each.

    Goes on until Ctrl-C. A change is processed once the table's routes have run on it, parked if one failed; of a table
    without routes, which is shown where Lambda functions read it or --table names it, it is written. With the app
    given, its routes are run again, which is free of side effects, and each effect is shown with where it has come to:
    a message is waiting, running, done or a dead letter; a record is buffered or written to files; an event is
    archived. A change is shown once its functions are done, or as it stands after two seconds, and again as an update
    when it goes on later, such as when its records are written to files. Changes nothing, and prints nothing of the
    items but their keys.

    Parameters
    ----------
    app
        The Python file that declares the App that the engine runs.
    table
        Only this table's changes. Default: those of all tables with routes or Lambda functions.
    from_start
        Begin with the oldest change that is kept, not with the next one.
    images
        Print the items before and after the change as well, private attributes masked.
    limit
        End after this many changes.
    json
        Print one JSON object a change.
    """
    settings = config.load(data=data)
    declared: App | None = None if app is None else load_app(app)
    with open_data(settings.data) as reader:
        if declared is not None and (owner := reader.app()) not in (None, declared.name):
            raise CommandError(
                f"expected the app {owner!r}, to which the data directory belongs, got {declared.name!r}: "
                "give its file, or none"
            )
        tracer = Tracer(reader, declared, settings.identity)
        show = _as_json if json else _as_text
        after = _first_positions(reader, table, from_start=from_start)
        tailing = _Tailing(reader, tracer, after, lambda seen, is_update: show(seen, images, is_update))
        try:
            tailing.run(limit)
        except KeyboardInterrupt:
            return


def _first_positions(reader: DataReader, table: str | None, *, from_start: bool) -> dict[str, int]:
    last = reader.last_positions()
    if table is not None and table not in last:
        raise CommandError(f"expected a table with a stream ({', '.join(last) or 'there is none'}), got {table!r}")
    chosen = _followed(reader) if table is None else [table]
    if not chosen:
        raise CommandError(
            "expected a table with routes or Lambda functions, found none: name one with --table, or run an app that "
            "has some on this directory first"
        )
    return {name: 0 if from_start else last[name] for name in chosen}


def _followed(reader: DataReader) -> list[str]:
    """The tables whose changes lead to something: routes, or Lambda functions on their streams."""
    mapped = [each.source for each in reader.status().event_source_mappings if each.kind == "dynamodb"]
    return list(dict.fromkeys([*reader.positions(), *mapped]))


@dataclass(frozen=True, slots=True)
class Seen:
    """A change at its position of the log, with what had become of it when it was looked at."""

    position: int
    change: Change
    trace: Trace


class _Tailing:
    """Reads the log, shows every change once in the log's order, and again when it goes on afterwards."""

    def __init__(
        self, reader: DataReader, tracer: Tracer, after: dict[str, int], show: Callable[[Seen, bool], None]
    ) -> None:
        self._reader = reader
        self._tracer = tracer
        self._private = {table: reader.private(table) for table in after}
        self._after = after
        self._show = show
        self._unshown: deque[tuple[int, Change]] = deque()
        self._followed: deque[Seen] = deque(maxlen=_FOLLOWED_MAX)

    def run(self, limit: int | None) -> None:
        """Go on until `limit` changes are shown."""
        shown = 0
        updated_at = time.monotonic()
        while True:
            read = self._read()
            self._tracer.refresh()
            while self._show_next():
                shown += 1
                if shown == limit:
                    return
            if time.monotonic() - updated_at >= _UPDATE_EVERY_S:
                self._update()
                updated_at = time.monotonic()
            if not read:
                time.sleep(_POLL_S)

    def _read(self) -> bool:
        fresh: list[tuple[int, Change]] = []
        room = _READ_AHEAD_MAX - len(self._unshown)
        for table in self._after if room > 0 else ():
            found = list(self._reader.positioned_changes(table, self._after[table], room))
            if found:
                self._after[table] = found[-1][0]
                fresh.extend(found)
        self._unshown.extend(sorted(fresh, key=lambda each: each[0]))
        return bool(fresh)

    def _show_next(self) -> bool:
        """Show the next change if it is time to."""
        if not self._unshown:
            return False
        position, change = self._unshown[0]
        seen = Seen(position, change, self._tracer.trace(position, change))
        if seen.trace.moving and time.time_ns() // 1_000_000 - change.created_at_ms < _SETTLE_MS:
            return False
        if not seen.trace.settled:
            self._followed.append(seen)
        self._unshown.popleft()
        self._show(self._masked(seen), False)
        return True

    def _masked(self, seen: Seen) -> Seen:
        private = self._private[seen.change.table]
        return replace(seen, change=MaskedChange(seen.change, private)) if private else seen

    def _update(self) -> None:
        """Show those again that have gone on, and forget those that will not any more."""
        for _ in range(len(self._followed)):
            before = self._followed.popleft()
            now = Seen(before.position, before.change, self._tracer.trace(before.position, before.change))
            if now.trace != before.trace:
                self._show(self._masked(now), True)
            if not now.trace.settled:
                self._followed.append(now)


def _as_json(seen: Seen, images: bool, is_update: bool) -> None:
    change = seen.change
    fields: dict[str, Any] = {
        "position": seen.position,
        "table": change.table,
        "event_name": change.event_name,
        "keys": change.keys_image,
        "sequence_number": change.sequence_number,
        "created_at": iso_milliseconds(change.created_at_ms),
        "by_ttl": change.by_ttl,
        "update": is_update,
        **asdict(seen.trace),
    }
    if images:
        fields |= {"new": change.new_image, "old": change.old_image}
    print_json(fields)


def _as_text(seen: Seen, images: bool, is_update: bool) -> None:
    change, trace = seen.change, seen.trace
    state_style = {"processed": "green", "written": "green", "waiting": "yellow", "parked": "bold red"}[trace.state]
    print_line(
        iso_milliseconds(change.created_at_ms),
        f"  {seen.position}  ",
        (f"{change.event_name:<6}", "cyan"),
        f"  {change.table}  {_keys(change.keys_image)}",
        "  by TTL" if change.by_ttl else "",
        "  ",
        (trace.state, state_style),
        "  (update)" if is_update else "",
    )
    if trace.error is not None:
        print_line("    ", (printable(trace.error), "red"))
    for effect in trace.effects or ():
        print_line(f"    {_effect(effect, change)} -> ", *_fates(effect.fates))
    for name, image in (("old", change.old_image), ("new", change.new_image)) if images else ():
        if image is not None:
            print_line(f"    {name} {printable(json_text.dumps(image).decode())}")


def _keys(keys: Item) -> str:
    return " ".join(f"{printable(name)}={printable(str(_value(value)))}" for name, value in keys.items())


def _value(value: Mapping[str, Any]) -> Any:
    return next(iter(value.values()))


def _effect(effect: TracedEffect, change: Change) -> str:
    return f"{printable(effect.id.removeprefix(f'{change.id}/'))} {effect.type} {printable(effect.target)}"


def _fates(fates: tuple[Fate, ...]) -> list[Styled]:
    if not fates:
        return ["nowhere: no subscription or rule lets it through"]
    parts: list[Styled] = []
    for fate in fates:
        style = {"dead letter": "bold red", "waiting": "yellow", "running": "yellow"}.get(fate.state, "green")
        after = "" if fate.attempts is None else f" after {count_text(fate.attempts, 'attempt')}"
        if fate.state == "running":
            after = f", attempt {fate.attempts}"
        elif fate.state == "waiting" and not fate.consumed:
            after = " for a consumer outside the engine"
        elif fate.reason is not None:
            after += f" ({printable(fate.reason)})"
        parts += ["; " if parts else "", f"{printable(fate.target)} ", (fate.state, style), after]
    return parts
