"""What an app declares, made in the data directory and kept there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from afterwrite.app import DEAD_LETTERS, App, GlobalIndex, Table, change_stream_hours
from afterwrite.config import Identity
from afterwrite.core.lanes import table_of
from afterwrite.diagrams.flow import guard_text
from afterwrite.engine.intake import Intake
from afterwrite.engine.telemetry import Telemetry
from afterwrite.errors import DeclarationError
from afterwrite.local.kinesis_arrivals import KinesisArrivals
from afterwrite.local.lags import declared_mappings
from afterwrite.server.sqs_queues import declared_queues
from afterwrite.store import (
    change_log,
    held_messages,
    index_filling,
    items,
    kinesis,
    kinesis_intake,
    ledger,
    queues,
    sent_messages,
    tables,
    waiting_messages,
)
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.table.index_requests import GLOBAL_INDEXES_MAX
from afterwrite.table.schema import GLOBAL, IndexSchema, KeyAttribute, KeySchema

# The year 5138: no change arrives later.
_AFTER_ALL_MS: Final = 10**14
_EVERY_CHANGE: Final = "every change"


def routed(app: App) -> list[Table]:
    """The tables whose changes lead to something."""
    return [table for table in app.tables if table.routes or table.pipes]


def declare_tables(transaction: WriteTransaction, app: App) -> None:
    """Create the app's tables that are missing; refuse those that are there with another key."""
    for declared in app.tables:
        sort_key = declared.sort_key
        schema = KeySchema(
            declared.partition_key.name,
            declared.partition_key.type,
            None if sort_key is None else sort_key.name,
            None if sort_key is None else sort_key.type,
        )
        table = tables.catalog(transaction).get(declared.name)
        if table is None:
            table = tables.create_table(
                transaction,
                declared.name,
                schema,
                view_type=declared.view_type,
                index_schemas=[_index_schema(each) for each in declared.indexes],
            )
        if table.schema == schema and table.stream is None:  # made without an app, or imported
            table = tables.enable_stream(transaction, table, declared.view_type)
        view_type = None if table.stream is None else table.stream.view_type
        if table.schema != schema:
            raise DeclarationError(
                f"the data directory holds the table {declared.name} with {_keys(table.schema)}, the app declares "
                f"{_keys(schema)}: use another data directory, or declare what is there"
            )
        if view_type != declared.view_type:
            raise DeclarationError(
                f"the data directory holds the table {declared.name} with the view type {view_type}, the app declares "
                f"{declared.view_type}: let the app as it was finish its changes, disable the table's stream by "
                "UpdateTable under afterwrite serve, and start the app again; or declare what is there"
            )
        if table.ttl_attribute != declared.ttl:
            items.set_ttl(transaction, declared.name, declared.ttl)
        if table.retention_s != declared.retention_hours * 3600:
            tables.set_retention(transaction, declared.name, declared.retention_hours * 3600)


def declare_indexes(environment: Environment, app: App) -> None:
    """Make the declared indexes that are missing, one after the other, each with all items of its table.

    Raises DeclarationError where an index of that name is there with other keys or another projection.
    """
    for declared in app.tables:
        for schema in map(_index_schema, declared.indexes):
            table = environment.state["catalog"][declared.name]
            if table.index_named(schema.name) is None:
                _fill(environment, table.name)
                environment.write(partial(_create_index, table_name=table.name, schema=schema))
            else:
                _refuse_another_index(table, schema)
            _fill(environment, table.name)


def _index_schema(index: GlobalIndex) -> IndexSchema:
    partition, *sort = (KeyAttribute(each.name, each.type) for each in index.keys)
    return IndexSchema(index.name, GLOBAL, (partition,), tuple(sort), index.projection, index.included)


def _create_index(transaction: WriteTransaction, *, table_name: str, schema: IndexSchema) -> None:
    table = tables.catalog(transaction)[table_name]
    _refuse_other_types(table, schema)
    if table.vector_index_named(schema.name) is not None:
        raise DeclarationError(
            f"the data directory holds a vector index {schema.name} of the table {table_name}, the app declares a "
            "global secondary one: give it another name"
        )
    there = [each for each in table.indexes if each.schema.scope == GLOBAL]
    if len(there) >= GLOBAL_INDEXES_MAX:
        raise DeclarationError(
            f"expected at most {GLOBAL_INDEXES_MAX} global secondary indexes of the table {table_name}, got "
            f"{schema.name} beside {len(there)} that the data directory holds: delete one that is not needed by "
            "UpdateTable under afterwrite serve"
        )
    index_filling.create_index(transaction, table, schema)


def _refuse_another_index(table: tables.Table, schema: IndexSchema) -> None:
    """Raise DeclarationError where the table's index of that name is another one."""
    found = next(index.schema for index in table.indexes if index.schema.name == schema.name)
    if replace(found, included=()) != replace(schema, included=()) or {*found.included} != {*schema.included}:
        raise DeclarationError(
            f"the data directory holds the index {schema.name} of the table {table.name} as {_shown(found)}, the app "
            f"declares {_shown(schema)}: declare what is there, or give the new one another name"
        )


def _refuse_other_types(table: tables.Table, schema: IndexSchema) -> None:
    """Raise DeclarationError where another index of the table has a key attribute with another type."""
    for index in table.indexes:
        for each in schema.attributes:
            if (known := index.schema.type_of(each.name)) not in (None, each.type):
                raise DeclarationError(
                    f"expected {each.name} of the table {table.name} to be of the type {known}, as in the index "
                    f"{index.schema.name} that the data directory holds, got {each.type} in the index {schema.name}"
                )


def _fill(environment: Environment, table_name: str) -> None:
    """Take the rest of the items into an index of the table that is being filled."""

    def fill(transaction: WriteTransaction) -> None:
        table = tables.catalog(transaction)[table_name]
        if table.filling is not None:
            index_filling.fill_index(transaction, table, table.filling)

    while environment.state["catalog"][table_name].filling is not None:
        environment.write(fill)


def _shown(schema: IndexSchema) -> str:
    keys = ", ".join(f"{each.name} ({each.type})" for each in schema.attributes)
    return f"{schema.scope} on {keys} with {', '.join((schema.projection, *schema.included))}"


def _keys(schema: KeySchema) -> str:
    sort = "" if schema.sort_key is None else f", {schema.sort_key} ({schema.sort_type})"
    return f"the key {schema.partition_key} ({schema.partition_type}){sort}"


def declare_kinesis_streams(transaction: WriteTransaction, app: App) -> None:
    """Create the app's Kinesis streams that are missing, and keep their records as long as declared."""
    for declared in app.kinesis_streams:
        stream = kinesis.find(transaction, declared.name)
        if stream is None:
            stream = kinesis.create(transaction, declared.name, declared.shard_count, mode="PROVISIONED", tags={})
        if stream.retention_hours != declared.retention_hours:
            kinesis.keep_for(transaction, stream, declared.retention_hours)


def declare_paths(environment: Environment, app: App, identity: Identity, telemetry: Telemetry) -> None:
    """Have each table's changes come by the stream that it is declared with; what is under way is taken before."""
    for declared in app.tables:
        table = environment.state["catalog"][declared.name]
        if table.stream.fed_by is not None:
            _take_the_rest(environment, table, telemetry)
        if declared.kinesis_stream is not None:
            arn = f"arn:aws:kinesis:{identity.region}:{identity.account_id}:stream/{declared.kinesis_stream}"
            hours = change_stream_hours(app, declared)
            environment.write(
                partial(_feed, table=declared.name, stream_arn=arn, region=identity.region, retention_hours=hours)
            )
        elif table.stream.fed_by is not None:
            environment.write(partial(_feed_no_more, table=declared.name))


def _take_the_rest(environment: Environment, table: tables.Table, telemetry: Telemetry) -> None:
    """Take what is in the stream from before: nothing older can arrive any more.

    The clock may have been set back since. Beside new changes, which then were older, these would be taken too late.
    """
    arrivals = KinesisArrivals(environment, table)
    rest = Intake(table.name, arrivals, telemetry, window_ms=0, now_ms=lambda: _AFTER_ALL_MS)
    while rest.run_once() is not None:
        pass


def _feed(transaction: WriteTransaction, *, table: str, stream_arn: str, region: str, retention_hours: int) -> None:
    found = tables.catalog(transaction)[table]
    kinesis_intake.feed(transaction, found, stream_arn, region, retention_hours=retention_hours)


def _feed_no_more(transaction: WriteTransaction, *, table: str) -> None:
    kinesis_intake.feed_no_more(transaction, tables.catalog(transaction)[table])


def keep_topology(transaction: WriteTransaction, app: App) -> None:
    """Keep what runs here; refuse the directory of another app, whose queues and lanes would wait unseen."""
    kept = ledger.note(transaction, "topology")
    if kept is not None and kept["app"] != app.name:
        raise DeclarationError(
            f"the data directory belongs to the app {kept['app']!r}, this is the app {app.name!r}: "
            "choose another directory with --data"
        )
    orders = {} if kept is None else kept.get("orders", {})
    for table in routed(app):
        before = orders.get(table.name, table.order)
        if before != table.order:
            _refuse_what_is_ordered_otherwise(transaction, table, before)
    runs = topology(app)
    left = {} if kept is None else _left(transaction, kept, runs["tables"])
    # What waits of a table that the app is without for now was ordered by what it was declared with last.
    ledger.keep_note(transaction, "topology", {**runs, "orders": {**orders, **runs["orders"]}, "left": left})


def _left(transaction: WriteTransaction, kept: Mapping[str, Any], consumed: Collection[str]) -> Mapping[str, int]:
    """The tables that had routes and have none any more, with the position of the last change then."""
    left = {table: through for table, through in kept.get("left", {}).items() if table not in consumed}
    for name in kept["tables"]:
        table = tables.catalog(transaction).get(name)
        if name not in consumed and table is not None and table.stream is not None:
            left[name] = change_log.last_position(transaction, table.stream)
    return left


def _refuse_what_is_ordered_otherwise(transaction: WriteTransaction, table: Table, before: str) -> None:
    """Raise DeclarationError where later changes of the table would overtake what waits by the order `before`."""
    if next(ledger.parked_lanes(transaction, table.name), None) is not None:
        raise DeclarationError(
            f"the table {table.name} is declared with order={table.order!r} and has lanes that are parked by "
            f"order={before!r}: redrive or drop them under that order first"
        )
    if table.order == "none":
        return
    for name in queues.queue_names(transaction):
        waiting = () if name.endswith(DEAD_LETTERS) else waiting_messages.messages(transaction, name)
        if any(each.wire is None and table_of(each.lane) == table.name for each in waiting):
            raise DeclarationError(
                f"the table {table.name} is declared with order={table.order!r}, and messages that were sent by "
                f"order={before!r} wait in the queue {name}, which later ones would overtake: start the app under that "
                "order until they are done"
            )


def cut_waits(transaction: WriteTransaction, app: App) -> None:
    """See that a clock which was set back holds up no queue for consumers outside; functions see to their own."""
    consumed = {function.queue_name for function in app.functions}
    for queue in declared_queues(app):
        if queue.name not in consumed:
            queues.cut_waits(transaction, queue.name, wait_ms_max=queues.WAIT_MS_MAX)
            held_messages.cut_visibility(transaction, queue.name)
    sent_messages.move_back(transaction)


def _routes(table: Table) -> Iterator[Mapping[str, str]]:
    """What runs on the table's changes, in this order, and which of them."""
    for route in table.routes:
        yield {"name": route.name, "table": table.name, "when": guard_text(route.guard) or _EVERY_CHANGE}
    for pipe in table.pipes:
        yield {"name": pipe.name, "table": table.name, "when": "its filter" if pipe.filter else _EVERY_CHANGE}


def topology(app: App) -> Mapping[str, Any]:
    """What runs in the engine, kept in the data directory for those who look at it from outside."""
    consumed = {function.queue_name: function for function in app.engine_functions}
    named = [queue.name for queue in app.queues]
    return {
        "app": app.name,
        "tables": [table.name for table in routed(app)],
        "orders": {table.name: table.order for table in routed(app)},
        "routes": [each for table in routed(app) for each in _routes(table)],
        "private": {table.name: table.private for table in app.tables if table.private},
        "queues": [
            {
                "name": name,
                "function": consumed[name].name if name in consumed else None,
                "dead_letter_queue": f"{name}{DEAD_LETTERS}",
            }
            for name in [*named, *(name for name in consumed if name not in named)]
        ],
        "delivery_streams": [stream.name for stream in app.delivery_streams],
        "delivery_stream_keys": {stream.name: list(stream.key) for stream in app.delivery_streams if stream.key},
        "search_indexes": [index.name for index in app.search_indexes if index.url is None],
        "indexes_elsewhere": [index.name for index in app.search_indexes if index.url is not None],
        "caches": [cache.name for cache in app.caches],
        "audit_logs": [log.name for log in app.audit_logs],
        "forgettable_logs": [log.name for log in app.audit_logs if log.forgettable],
        "alarms": asdict(app.alarm_thresholds),
        "event_source_mappings": declared_mappings(app),
        "buses": [{"name": bus.name, "archive_days": bus.archive_days} for bus in app.buses],
    }
