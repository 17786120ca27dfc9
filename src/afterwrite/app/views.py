"""What an app shows elsewhere: caches and search indexes that follow its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from afterwrite.app.checks import check_target, declaration
from afterwrite.app.declarations import Function, Table
from afterwrite.core.callables import check_code
from afterwrite.core.changes import NEW_AND_OLD_IMAGES, REMOVE, Change
from afterwrite.core.conditions import Matchers, compile_condition
from afterwrite.core.effects import Index, Show
from afterwrite.core.invocations import Context
from afterwrite.core.names import ShownByName
from afterwrite.core.outcomes import RetryPolicy
from afterwrite.core.privacy import masked
from afterwrite.core.routes import Guard, Route
from afterwrite.core.values import decode_item, encode_item
from afterwrite.errors import DeclarationError

# What is away is waited for, however long: what it has missed it gets in order.
_POLICY: Final = RetryPolicy(attempts_max=100_000, backoff_ms_first=1_000)
_TIMEOUT_S: Final = 300.0
CONCURRENCY: Final = 32
"""How many changes at most go to a cache or an index in one request of the embedded engine."""

CACHE: Final = "cache-"
"""What the names of caches' functions begin with."""

Entries: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""From an item to what a cache shows of it: values by their keys; nothing where it does not show the item."""


@dataclass(frozen=True, eq=False)
class View:
    """A table as a cache shows it."""

    table: Table
    entries: Entries
    shows: Callable[[Mapping[str, Any]], Show | None]


@dataclass(frozen=True, eq=False, repr=False)
class Cache(ShownByName):
    """A cache in Redis that follows tables. `url` is where the embedded engine finds it."""

    name: str
    url: str
    views: list[View] = field(default_factory=list)

    @property
    def function(self) -> Function:
        """The function that the embedded engine feeds with what is to be shown; the engine gives it its code."""
        return view_function(CACHE + self.name)

    def show(self, id: str, values: Mapping[str, str], *, version: str, removed: Sequence[str] = ()) -> Show:
        """The effect that shows `values` by their keys, and no more the `removed` keys, of what is known by `id`.

        Nothing happens where the cache shows a later `version`: a whole number as text, such as `change.version`.
        """
        return Show(self.name, id, version, dict(values), tuple(removed))

    @declaration
    def view(self, table: Table) -> Callable[[Entries], Entries]:
        """Declare the decorated pure function, from an item to values by their keys, as what is shown of `table`.

        It becomes a route of the table. An item's keys must not be another's; no keys: the item is not shown. A cache
        that has lost everything is filled again from the table by the embedded engine. Private attributes of the item
        are masked.
        """
        check_target(f"for the cache {self.name} to show", table, (Table,))
        _refuse_without_images(table)

        def declare(entries: Entries) -> Entries:
            check_code("view", entries, ["item"])

            def route(change: Change) -> Show | None:
                shown = {} if change.new is None else entries(change.new)
                before = {} if change.old is None else entries(change.old)
                removed = tuple(key for key in before if key not in shown)
                if not shown and not removed:
                    return None
                return self.show(_id(table, change.keys), shown, version=change.version, removed=removed)

            def shows(item: Mapping[str, Any]) -> Show | None:
                shown = entries(_as_routes_see(table, item))
                return self.show(_id(table, item), shown, version="0") if shown else None

            table.routes.append(Route(entries.__name__, table.name, Guard(), route))
            table.router()
            self.views.append(View(table, entries, shows))
            return entries

        return declare


def _id(table: Table, item: Mapping[str, Any]) -> str:
    keys = [key for key in (table.partition_key, table.sort_key) if key is not None]
    return "/".join([table.name, *(str(item[key.name]) for key in keys)])


SEARCH: Final = "search-"
"""What the names of search indexes' functions begin with."""

Document: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""From an item to its document; None where the item is not to be found."""


@dataclass(frozen=True, eq=False)
class IndexedTable:
    """A table whose items are in a search index."""

    table: Table
    indexes: Callable[[Mapping[str, Any]], Index | None]


@dataclass(frozen=True, eq=False, repr=False)
class SearchIndex(ShownByName):
    """A search index that follows tables: OpenSearch's at `url`, or one in the data directory."""

    name: str
    fields: tuple[str, ...]
    url: str | None
    tables: list[IndexedTable] = field(default_factory=list)

    @property
    def function(self) -> Function:
        """The function that the embedded engine feeds with what is to be indexed; the engine gives it its code."""
        return view_function(SEARCH + self.name)

    def put(self, id: str, document: Mapping[str, Any] | None, *, version: str) -> Index:
        """The effect that puts the document of what is known by `id` into the index; None takes it out.

        Nothing happens where the index holds a later `version`: a whole number as text.
        """
        return Index(self.name, id, version, None if document is None else dict(document))

    @declaration
    def documents(self, table: Table, *, sort_key: Matchers = None) -> Callable[[Document], Document]:
        """Declare the decorated pure function, from an item to its document, as what can be found of `table`.

        It becomes a route of the table, for items whose sort key matches. An item that has no document any more, or
        is removed, leaves the index. An index in the data directory, which is filled from the tables, is not told of
        changes that leave the document as it was. Private attributes of the item are masked.
        """
        check_target(f"for the search index {self.name} to find", table, (Table,))
        _refuse_without_images(table)
        is_filled = self.url is None

        def declare(document: Document) -> Document:
            check_code("document", document, ["item"])

            def indexes(change: Change) -> Index | None:
                found = None if change.new is None else document(change.new)
                if found is None:
                    if not _had_document(change, document):
                        return None
                elif is_filled and _is_as_before(found, change, document):
                    return None
                return self.put(_id(table, change.keys), found, version=change.version)

            def filled(item: Mapping[str, Any]) -> Index | None:
                found = document(_as_routes_see(table, item))
                return None if found is None else self.put(_id(table, item), found, version="0")

            indexes.__name__ = document.__name__
            table.on(sort_key=sort_key)(indexes)
            self.tables.append(IndexedTable(table, filled if sort_key is None else _where(table, sort_key, filled)))
            return document

        return declare


def _had_document(change: Change, document: Document) -> bool:
    """Whether the item may have been in the index before the change."""
    if change.old is None:
        return change.event_name == REMOVE  # as of a forgotten item: its old image is gone, its document must be
    return document(change.old) is not None


def _is_as_before(found: Mapping[str, Any], change: Change, document: Document) -> bool:
    """Whether the change leaves the document as it was."""
    if change.old is None:
        return False
    try:
        before = document(change.old)
    except Exception:  # noqa: BLE001 - an item that the function cannot read has no document yet
        return False
    return repr(before) == repr(found)  # by their texts: True and 1 are equal, and not the same in a document


def _as_routes_see(table: Table, item: Mapping[str, Any]) -> Mapping[str, Any]:
    """An item that was read from the table, with what is private masked as in a change."""
    return decode_item(masked(encode_item(item), table.private)) if table.private else item


def _where(
    table: Table, sort_key: Matchers, indexes: Callable[[Mapping[str, Any]], Index | None]
) -> Callable[[Mapping[str, Any]], Index | None]:
    """The same for items whose sort key matches, and nothing for others."""
    name = table.sort_key.name if table.sort_key else ""
    holds = compile_condition(sort_key, name, "sort_key").holds
    return lambda item: indexes(item) if holds(encode_item({name: item[name]})) else None


def _refuse_without_images(table: Table) -> None:
    if table.view_type != NEW_AND_OLD_IMAGES:
        raise DeclarationError(
            f"expected the table {table.name} with both images, as what follows it removes what the old one led to, "
            f"got {table.view_type}: declare it with view_type={NEW_AND_OLD_IMAGES!r}"
        )


def view_function(name: str) -> Function:
    """A function of the engine's own that is tried until it has done its work, one attempt a lane at a time."""

    def without_engine(_request: Any, _context: Context) -> None:
        raise DeclarationError(f"expected the embedded engine to run {name}: nobody else does")

    return Function(name, without_engine, _POLICY, _TIMEOUT_S, CONCURRENCY)
