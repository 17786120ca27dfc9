"""What was delivered past failures that wait: redriven, they would come after it.

However many failures there are, it costs one pass over each table's changes since the oldest of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from afterwrite.core.lanes import table_of
from afterwrite.core.parked import ParkedEntry
from afterwrite.store import change_log, ledger
from afterwrite.store.environment import ReadTransaction
from afterwrite.store.parked import position_of

_What: TypeAlias = tuple[str, str]
"""What is ordered: an item by its keys, or a lane."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """A table's stream, the lane of each of its changes, and whether what is newer waits behind what is parked."""

    stream: change_log.Stream
    lane_of: Callable[[Any], str]
    is_ordered: bool


@dataclass(frozen=True, slots=True)
class _Followed:
    """A failure: changes of `what` count after a position, and anew after the change that has led to it, if any."""

    place: str
    what: _What
    after: int
    change_id: str | None = None


def newer_changes(
    transaction: ReadTransaction, entries: Iterable[ParkedEntry], orderings: Mapping[str, Ordering]
) -> Mapping[str, int]:
    """How many newer changes were delivered past each entry, by its place: of its item, of a dead letter of its lane.

    None past what holds up its lane, or is no table's: such entries are left out. `orderings` are by table.
    """
    followed: dict[str, list[_Followed]] = defaultdict(list)
    for entry in entries:
        ordering = orderings.get(table_of(entry.lane) or "")
        if ordering is not None and (each := _followed(transaction, entry, ordering)) is not None:
            followed[ordering.stream.table].append(each)
    counts: dict[str, int] = {}
    for table, those in followed.items():
        counts.update(_counts(transaction, those, orderings[table]))
    return counts


def _followed(transaction: ReadTransaction, entry: ParkedEntry, ordering: Ordering) -> _Followed | None:
    if entry.kind == "change" and not ordering.is_ordered:
        what = "item", _item(entry.payload["dynamodb"]["Keys"])
        return _Followed(entry.place, what, position_of(entry))
    if entry.kind == "dead letter" and entry.created_at_ms is not None:
        after = change_log.position_before(transaction, ordering.stream, entry.created_at_ms * 1000)
        return _Followed(entry.place, ("lane", entry.lane), after, (entry.id or "").partition("/")[0])
    return None


def _counts(transaction: ReadTransaction, followed: list[_Followed], ordering: Ordering) -> Mapping[str, int]:
    stream = ordering.stream
    through = ledger.position(transaction, stream.table)
    kinds = {each.what[0] for each in followed}
    wanted = {each.what for each in followed}
    waiting = {each.position for each in ledger.parked(transaction, stream.table)} if "item" in kinds else set()
    by_change: dict[str, list[_Followed]] = defaultdict(list)
    for each in followed:
        if each.change_id is not None:
            by_change[each.change_id].append(each)
    # What was counted of an entry's item or lane before the entry: the rest is newer.
    before: dict[str, int] = {}
    counted: Counter[_What] = Counter()
    to_begin = sorted(followed, key=lambda each: each.after, reverse=True)
    for position, change in change_log.read(transaction, stream, to_begin[-1].after):
        if position > through:
            break
        while to_begin and to_begin[-1].after < position:
            begun = to_begin.pop()
            before[begun.place] = counted[begun.what]
        if "lane" in kinds and (lane := ("lane", ordering.lane_of(change))) in wanted:
            counted[lane] += 1
        if "item" in kinds and position not in waiting and (item := ("item", _item(change.keys_image))) in wanted:
            counted[item] += 1
        # Those before it were of the same millisecond.
        for each in by_change.get(change.id, ()):
            before[each.place] = counted[each.what]
    return {each.place: counted[each.what] - before.get(each.place, counted[each.what]) for each in followed}


def _item(keys: Any) -> str:
    return orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()
