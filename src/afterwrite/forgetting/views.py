"""What caches and search indexes hold of a subject: found by running the app's routes, which are pure, and taken out.

Which keys a cache shows of an item, and which documents an index has, only the declaration can tell, and only while the
item's images are there. So they are found before the store is erased, and kept in the queues that feed the caches and
indexes, in the same transaction: where one cannot be reached now, the engine takes them out when it next can, or
forgetting again does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import orjson

from afterwrite.app import DEAD_LETTERS, App
from afterwrite.app import Cache as DeclaredCache
from afterwrite.app import SearchIndex as DeclaredIndex
from afterwrite.app import Table as DeclaredTable
from afterwrite.core.changes import INSERT, REMOVE, Change
from afterwrite.core.effects import Index, Show
from afterwrite.core.erasure import Subject
from afterwrite.core.routes import RouteFailed, Router
from afterwrite.core.values import decode_item
from afterwrite.core.versions import is_later, is_version
from afterwrite.core.wire import from_streams_record
from afterwrite.errors import CommandError, InvalidValue
from afterwrite.store import erasure, items, ledger, queues
from afterwrite.store.change_log import COUNTER, SEQUENCE_NUMBER_BASE, sequence_number
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.tables import Table
from afterwrite.targets.opensearch import OpenSearchIndex
from afterwrite.targets.redis import RedisCache


@dataclass(frozen=True, slots=True)
class Removals:
    """What is to leave caches and indexes: effects by the queues that feed them; `lane` is where they wait."""

    lane: str = ""
    by_queue: Mapping[str, Sequence[Show | Index]] = field(default_factory=dict)

    def ids(self, index: DeclaredIndex) -> frozenset[str]:
        """The ids of the documents that are to leave an index."""
        return frozenset(effect.id for effect in self.by_queue.get(index.function.queue_name, ()))


@dataclass(slots=True)
class TakenOut:
    """How many entries and documents left, by where they were; what did not; the queues that are done with."""

    erased: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)


def refuse_other_app(app: App | None, topology: Mapping[str, Any]) -> None:
    """Raise CommandError where what leaves caches and indexes elsewhere cannot be found without the app."""
    elsewhere = [f"the cache {name}" for name in topology.get("caches", [])]
    elsewhere += [f"the search index {name}" for name in topology.get("indexes_elsewhere", [])]
    if app is None and elsewhere:
        raise CommandError(
            f"expected the file that declares the app {topology['app']} with --app, as only it tells what "
            f"{' and '.join(elsewhere)} hold of an item, got none: give it; nothing has been erased"
        )
    if app is not None and app.name != topology.get("app", app.name):
        raise CommandError(
            f"expected the app {topology['app']!r}, to which the data directory belongs, got {app.name!r}: "
            "give its file"
        )


def undeclared(app: App | None, topology: Mapping[str, Any]) -> list[str]:
    """What the directory's app fed when it last ran, and the app that is given does not declare."""
    if app is None:
        return []
    caches, indexes = {each.name for each in app.caches}, {each.name for each in app.search_indexes}
    left = [f"the cache {name}" for name in topology.get("caches", []) if name not in caches]
    left += [f"the search index {name}" for name in topology.get("indexes_elsewhere", []) if name not in indexes]
    return [f"{each}, which the app that was given does not declare" for each in left]


def removals(transaction: ReadTransaction, app: App | None, subject: Subject, found: Sequence[Table]) -> Removals:
    """What is to leave the app's caches and search indexes."""
    if app is None or not subject.keys or not (app.caches or app.search_indexes):
        return Removals()
    now = sequence_number(transaction.counter(COUNTER) + 1)
    feeding = {("cache", each.name): each.function.queue_name for each in app.caches}
    feeding |= {("index", each.name): each.function.queue_name for each in app.search_indexes}
    collected = _Collected(now)
    declared = {table.name: table for table in app.tables if table.name in subject.keys}
    routers = {name: [Router([route], table.private) for route in table.routes] for name, table in declared.items()}
    stored = [table for table in found if table.name in declared]
    for table in stored:
        for change in _of_items(transaction, table, subject, now):
            for effect in _asked(routers[table.name], change):
                collected.add(feeding[_place(effect)], effect, is_current=True)
    for change in _of_the_past(transaction, subject, declared):
        for effect in _asked(routers.get(change.table, ()), change):
            collected.add(feeding[_place(effect)], effect)
    for queue in feeding.values():
        for name in (queue, queue + DEAD_LETTERS):
            for message in erasure.messages(transaction, subject, name):
                collected.add(queue, _of_message(message.body))
    collected.leave(lambda each: _shown_of_others(transaction, each, subject, stored), app.caches)
    return Removals(subject.lane(next(iter(subject.keys))), collected.effects())


def _place(effect: Show | Index) -> tuple[str, str]:
    return ("cache", effect.cache) if isinstance(effect, Show) else ("index", effect.index)


def _asked(routers: Sequence[Router], change: Change) -> Iterator[Show | Index]:
    """What the routes ask of caches and indexes after a change; one that fails has failed for the engine as well."""
    for router in routers:
        try:
            planned = router.plan(change, "")
        except RouteFailed:
            continue
        yield from (each.effect for each in planned if isinstance(each.effect, Show | Index))


def _of_items(transaction: ReadTransaction, table: Table, subject: Subject, now: str) -> Iterator[Change]:
    """The subject's items as changes that put them in and that take them out."""
    for text in erasure.items_of(transaction, table, subject):
        item = orjson.loads(text)
        keys = {name: item[name] for name in table.schema.names}
        for event, new, old in ((INSERT, item, None), (REMOVE, None, item)):
            yield Change(
                id="forgotten",
                table=table.name,
                event_name=event,
                keys=keys,
                new_image=new,
                old_image=old,
                sequence_number=now,
            )


def _of_the_past(
    transaction: ReadTransaction, subject: Subject, declared: Mapping[str, DeclaredTable]
) -> Iterator[Change]:
    """The subject's changes that are kept, in the log or parked."""
    yield from erasure.changes(transaction, subject)
    for table in declared:
        for parked in ledger.parked(transaction, table):
            change = from_streams_record(parked.change, table=table)
            if subject.has_keys(table, change.keys_image):
                yield change


def _of_message(body: Mapping[str, Any]) -> Show | Index:
    if "cache" in body:
        return Show(body["cache"], body["id"], body["version"], body["values"], tuple(body["removed"]))
    return Index(body["index"], body["id"], body["version"], body["document"])


class _Collected:
    """What is to leave, by queue and id: a cache's keys, and the version after the latest that was asked for."""

    def __init__(self, now: str) -> None:
        self._now = now
        self._held: dict[tuple[str, str], tuple[Show | Index, dict[str, None]]] = {}
        self._current: set[tuple[str, str]] = set()

    def add(self, queue: str, effect: Show | Index, *, is_current: bool = False) -> None:
        """Note what an effect has shown, or would show; `is_current` where an item that is there says so."""
        effect = replace(effect, version=self._after(effect.version))
        before, keys = self._held.get((queue, effect.id), (effect, {}))
        if isinstance(effect, Show):
            keys.update(dict.fromkeys((*effect.values, *effect.removed)))
            if is_current:
                self._current.update((queue, key) for key in keys)
        later = effect if is_later(effect.version, before.version) else before
        self._held[queue, effect.id] = (later, keys)

    def leave(self, shown: Callable[[DeclaredCache], Collection[str]], caches: Sequence[DeclaredCache]) -> None:
        """Leave keys that no item of the subject's shows any more to those others that show them now."""
        for each in caches:
            queue = each.function.queue_name
            own = [keys for (name, _), (_, keys) in self._held.items() if name == queue]
            if any((queue, key) not in self._current for keys in own for key in keys):
                others = shown(each)
                for keys in own:
                    for key in [key for key in keys if key in others and (queue, key) not in self._current]:
                        del keys[key]

    def effects(self) -> dict[str, list[Show | Index]]:
        """What takes them out."""
        found: dict[str, list[Show | Index]] = {}
        for (queue, _), (effect, keys) in self._held.items():
            if isinstance(effect, Index):
                found.setdefault(queue, []).append(replace(effect, document=None))
            elif keys:
                found.setdefault(queue, []).append(replace(effect, values={}, removed=tuple(keys)))
        return found

    def _after(self, version: str) -> str:
        """A version that wins: that of a change now, or of an app's own counter the next."""
        if not is_version(version):
            return "0"  # a target refuses it, so nothing was ever shown under it
        number = int(version)
        return self._now if number >= SEQUENCE_NUMBER_BASE else str(number + 1)


def _shown_of_others(
    transaction: ReadTransaction, declared: DeclaredCache, subject: Subject, found: Sequence[Table]
) -> frozenset[str]:
    """The keys that a cache's views show of items that are not the subject's."""
    shown: set[str] = set()
    stored = {table.name: table for table in found}
    for view in declared.views:
        if view.table.name in stored:
            for _, text in items.scan(transaction, stored[view.table.name]):
                item = orjson.loads(text)
                if not subject.has_keys(view.table.name, item):
                    show = view.shows(decode_item(item))
                    shown.update(show.values if show is not None else ())
    return frozenset(shown)


def keep(transaction: WriteTransaction, leaving: Removals) -> None:
    """Have the engine take out, when it next runs, what is to leave."""
    now_ms = transaction.now_ms
    for queue, effects in leaving.by_queue.items():
        for number, effect in enumerate(effects):
            id = f"forgotten/{now_ms}/{transaction.counter('position')}/{number}"
            body = {**asdict(effect), "at_ms": now_ms}
            message = queues.Message(id=id, body=body, lane=leaving.lane, sent_at_ms=now_ms)
            queues.send(transaction, queue, leaving.lane, queues.encode(message))


def take_out(app: App | None, leaving: Removals, *, now_ms: int, dry_run: bool = False) -> TakenOut:
    """Take out of Redis and OpenSearch what is to leave there; with `dry_run` only say what that is."""
    taken = TakenOut()
    for each in app.caches if app is not None else ():
        effects = leaving.by_queue.get(each.function.queue_name, ())
        shows = [effect for effect in effects if isinstance(effect, Show)]
        if shows:
            _from_cache(taken, each, shows, now_ms, dry_run=dry_run)
    for index in app.search_indexes if app is not None else ():
        effects = leaving.by_queue.get(index.function.queue_name, ())
        documents = [effect for effect in effects if isinstance(effect, Index)]
        if index.url is None:
            taken.queues.append(index.function.queue_name)  # its file was written anew
        elif documents:
            _from_index(taken, index, documents, now_ms, dry_run=dry_run)
    return taken


def _from_cache(taken: TakenOut, declared: DeclaredCache, shows: Sequence[Show], now_ms: int, *, dry_run: bool) -> None:
    target = RedisCache(f"cache/{declared.name}", declared.url, now_ms=lambda: now_ms)
    reason: str | None
    count = 0
    try:
        count, failure = target.erase(shows, dry_run=dry_run)
        reason = None if failure is None else failure.reason
    except ImportError:
        reason = "the package redis is missing here: pip install 'afterwrite[redis]'"
    finally:
        target.close()
    keys = sum(len(show.removed) for show in shows)
    _note(taken, declared.function.queue_name, f"entries of the cache {declared.name}", count, keys, reason)


def _from_index(
    taken: TakenOut, declared: DeclaredIndex, documents: Sequence[Index], now_ms: int, *, dry_run: bool
) -> None:
    url = declared.url or ""
    target = OpenSearchIndex(f"search_index/{declared.name}", url, declared.name, now_ms=lambda: now_ms)
    reason: str | None = None
    count = len(documents)
    try:
        if not dry_run:
            failures = [failure for failure in target.erase(documents, at_ms=now_ms) if failure is not None]
            count -= len(failures)
            reason = failures[0].reason if failures else None
    except ImportError:
        count, reason = 0, "the package opensearch-py is missing here: pip install 'afterwrite[opensearch]'"
    except InvalidValue as error:
        count, reason = 0, str(error)
    finally:
        target.close()
    what = f"documents of the search index {declared.name}"
    _note(taken, declared.function.queue_name, what, count, len(documents), reason)


def _note(taken: TakenOut, queue: str, what: str, count: int, meant: int, reason: str | None) -> None:
    taken.erased[what] = count
    if reason is None:
        taken.queues.append(queue)
    else:
        taken.left.append(
            f"up to {meant - count} {what} ({reason}): the engine takes them out when it next can, or forget again"
        )


def own_documents(
    transaction: ReadTransaction, subject: Subject, found: Sequence[Table], ids: Collection[str]
) -> Callable[[str, str], bool]:
    """What says whether a document of an embedded index is the subject's: by its id, or by a name in it."""

    @cache
    def ids_of_others() -> frozenset[str]:
        others: set[str] = set()
        for table in found:
            for _, text in items.scan(transaction, table):
                item = orjson.loads(text)
                if not subject.has_keys(table.name, item):
                    keys = decode_item({name: item[name] for name in table.schema.names})
                    others.add("/".join([table.name, *map(str, keys.values())]))
        return frozenset(others)

    def is_own(id: str, document: str) -> bool:
        if id in ids or subject.is_named_in(document.encode()):
            return True
        return subject.has_document_id(id) and id not in ids_of_others()

    return is_own
