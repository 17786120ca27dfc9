"""Caches and search indexes of an app in the embedded engine: a function for each, over what carries it out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from afterwrite.app import App, Cache, Function, SearchIndex
from afterwrite.core.effects import Index, Show, StampedEffect
from afterwrite.core.invocations import Context
from afterwrite.core.sending import fail
from afterwrite.core.target_failures import TargetFailure
from afterwrite.engine.gathering import Gathering
from afterwrite.local.search_index import EmbeddedIndex
from afterwrite.targets.opensearch import OpenSearchIndex
from afterwrite.targets.redis import RedisCache


def engine_functions(app: App, search: Path, now_ms: Callable[[], int], closing: ExitStack) -> list[Function]:
    """The functions that the engine runs, those of caches and indexes with their code.

    Embedded indexes are in the directory `search`; `closing` lets go of files and connections.
    """
    functions = list(app.functions)
    for cache in app.caches:
        target = RedisCache(f"cache/{cache.name}", cache.url, now_ms=now_ms)
        closing.callback(target.close)
        functions.append(replace(cache.function, handler=_keeping(target, _show, _rows(cache))))
    for index in app.search_indexes:
        carrier = index_of(index, search, now_ms)
        closing.callback(carrier.close)
        functions.append(replace(index.function, handler=_keeping(carrier, _index, _documents(index))))
    return functions


def index_of(index: SearchIndex, search: Path, now_ms: Callable[[], int]) -> OpenSearchIndex | EmbeddedIndex:
    """What carries out a declared search index."""
    if index.url is None:
        return EmbeddedIndex(search, index.name, now_ms=now_ms, fields=index.fields)
    return OpenSearchIndex(f"search_index/{index.name}", index.url, index.name, now_ms=now_ms, fields=index.fields)


def _keeping(
    carrier: Any, effect_of: Callable[[Mapping[str, Any]], Any], rows: Callable[[Context], Iterable[Any]]
) -> Callable[[Any, Context], None]:
    """The code that performs what is asked, and fills what has lost everything."""
    gathering = Gathering(carrier.limits, carrier.send)
    filling = threading.Lock()

    def keep(request: Mapping[str, Any], context: Context) -> None:
        stamped = StampedEffect(context.invocation_id, "", int(request["at_ms"]), effect_of(request))
        _raise(gathering.perform(carrier.entry(stamped)))
        if not carrier.is_whole:
            with filling:  # one of the threads does it for all
                if not carrier.is_whole:
                    for failure in carrier.fill(lambda: rows(context)):
                        _raise(failure)

    return keep


def _show(request: Mapping[str, Any]) -> Show:
    return Show(request["cache"], request["id"], request["version"], request["values"], tuple(request["removed"]))


def _index(request: Mapping[str, Any]) -> Index:
    return Index(request["index"], request["id"], request["version"], request["document"])


def _rows(cache: Cache) -> Callable[[Context], Iterator[Show]]:
    def rows(context: Context) -> Iterator[Show]:
        for view in cache.views:
            for item in context.table(view.table).scan():
                if (show := view.shows(item)) is not None:
                    yield show

    return rows


def _documents(index: SearchIndex) -> Callable[[Context], Iterator[Index]]:
    def documents(context: Context) -> Iterator[Index]:
        for each in index.tables:
            for item in context.table(each.table).scan():
                if (indexed := each.indexes(item)) is not None:
                    yield indexed

    return documents


def _raise(failure: TargetFailure | None) -> None:
    """Raise a target's failure as a function tells it."""
    if failure is not None:
        fail(failure)
