"""Caches and search indexes of an app in the embedded engine: a function for each, over what carries it out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from afterwrite.app import App, Cache, Function, SearchIndex
from afterwrite.core.effects import Index, Show, StampedEffect
from afterwrite.core.invocations import Context
from afterwrite.core.sending import fail
from afterwrite.core.target_failures import TargetFailure
from afterwrite.engine.gathering import Gathering
from afterwrite.errors import CommandError
from afterwrite.local.native import NativeServices
from afterwrite.local.search_index import EmbeddedIndex
from afterwrite.targets.opensearch import OpenSearchIndex
from afterwrite.targets.redis import RedisCache

_LOOK_S: Final = 1.0


class Filling:
    """What carries out a cache or an index, and the `rows` that the tables have for it."""

    def __init__(self, carrier: Any, rows: Callable[[], Iterable[Any]]) -> None:
        self.carrier = carrier
        self._rows = rows
        self._lock = threading.Lock()

    def fill(self) -> None:
        """Fill it where it has lost everything; one of the threads does it for all. Raises its failure."""
        if self.carrier.is_whole:
            return
        with self._lock:
            if not self.carrier.is_whole:
                for failure in self.carrier.fill(self._rows):
                    _raise(failure)


class IndexWatch:
    """The unit of work that fills an embedded index where its file is new, at the start or later."""

    def __init__(self, name: str, filling: Filling) -> None:
        self.name = f"search-index-{name}"
        self._filling = filling

    def watch(self, event: threading.Event) -> None:
        """Nothing but the time tells."""

    def run_once(self) -> float | None:
        """Look for the file; how long (s) until the next look. Raises what a function raises of its target."""
        self._filling.carrier.look()
        self._filling.fill()
        return _LOOK_S


def engine_functions(
    app: App, search: Path, now_ms: Callable[[], int], services: NativeServices, closing: ExitStack
) -> tuple[list[Function], list[IndexWatch]]:
    """The functions that the engine runs, those of caches and indexes with their code; and what watches over indexes.

    Embedded indexes are in the directory `search`; `services` have the tables that they and caches are filled from;
    `closing` lets go of files and connections. Raises CommandError where a package that one of them needs is missing.
    """
    functions, watches = list(app.functions), list[IndexWatch]()
    for cache in app.caches:
        _require("redis", "redis", f"cache {cache.name}")
        target = RedisCache(f"cache/{cache.name}", cache.url, now_ms=now_ms)
        closing.callback(target.close)
        functions.append(replace(cache.function, handler=_keeping(Filling(target, _rows(cache, services)), _show)))
    for index in app.search_indexes:
        if index.url is not None:
            _require("opensearchpy", "opensearch", f"search index {index.name}")
        carrier = index_of(index, search, now_ms)
        closing.callback(carrier.close)
        filling = Filling(carrier, _documents(index, services))
        functions.append(replace(index.function, handler=_keeping(filling, _index)))
        if isinstance(carrier, EmbeddedIndex):
            watches.append(IndexWatch(index.name, filling))
    return functions, watches


def _require(module: str, extra: str, what: str) -> None:
    if find_spec(module) is None:
        raise CommandError(
            f"expected the package that the {what} needs, found no module {module}: pip install 'afterwrite[{extra}]'"
        )


def index_of(index: SearchIndex, search: Path, now_ms: Callable[[], int]) -> OpenSearchIndex | EmbeddedIndex:
    """What carries out a declared search index."""
    if index.url is None:
        return EmbeddedIndex(search, index.name, now_ms=now_ms, fields=index.fields)
    return OpenSearchIndex(f"search_index/{index.name}", index.url, index.name, now_ms=now_ms, fields=index.fields)


def _keeping(filling: Filling, effect_of: Callable[[Mapping[str, Any]], Any]) -> Callable[[Any, Context], None]:
    """The code that performs what is asked, and fills what has lost everything."""
    carrier = filling.carrier
    gathering = Gathering(carrier.limits, carrier.send)

    def keep(request: Mapping[str, Any], context: Context) -> None:
        stamped = StampedEffect(context.invocation_id, "", int(request["at_ms"]), effect_of(request))
        _raise(gathering.perform(carrier.entry(stamped)))
        filling.fill()

    return keep


def _show(request: Mapping[str, Any]) -> Show:
    return Show(request["cache"], request["id"], request["version"], request["values"], tuple(request["removed"]))


def _index(request: Mapping[str, Any]) -> Index:
    return Index(request["index"], request["id"], request["version"], request["document"])


def _rows(cache: Cache, services: NativeServices) -> Callable[[], Iterator[Show]]:
    def rows() -> Iterator[Show]:
        for view in cache.views:
            for item in services.table(view.table.name).scan():
                if (show := view.shows(item)) is not None:
                    yield show

    return rows


def _documents(index: SearchIndex, services: NativeServices) -> Callable[[], Iterator[Index]]:
    def documents() -> Iterator[Index]:
        for each in index.tables:
            for item in services.table(each.table.name).scan():
                if (indexed := each.indexes(item)) is not None:
                    yield indexed

    return documents


def _raise(failure: TargetFailure | None) -> None:
    """Raise a target's failure as a function tells it."""
    if failure is not None:
        fail(failure)
