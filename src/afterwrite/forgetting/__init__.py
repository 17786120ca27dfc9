"""Forgetting a person: what a data directory holds of the items of a partition key, erased, while no engine runs.

    tables        the items are deleted; a REMOVE with the keys alone tells routes, functions and targets of it
    change log    their other changes go, in every stream; parked ones, messages, buffered records, archived events too
    lake          the files are written anew without their records
    search        the embedded indexes' files are written anew without their documents
    caches        what caches in Redis and indexes in OpenSearch hold is taken out, now or when they can be reached
    audit logs    what is in forgettable ones stays, encrypted; its keys are destroyed
    the store     its file is written anew, the old one and the journal are overwritten

What cannot be erased here is named: clear audit logs, what functions keep in files, backups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from afterwrite.app import App
from afterwrite.core.erasure import Subject
from afterwrite.core.values import normalize_number
from afterwrite.errors import CommandError, InvalidValue
from afterwrite.forgetting import views
from afterwrite.forgetting.views import Removals
from afterwrite.local import lake_erasure, search_erasure, search_index
from afterwrite.local.audit import files, sealing
from afterwrite.local.audit.logs import head_of
from afterwrite.store import erasure, ledger, table_restoring, tables
from afterwrite.store.compaction import close_and_compact
from afterwrite.store.data_directory import DataDirectory, DirectoryLock
from afterwrite.store.environment import Environment, ReadTransaction, WriteTransaction
from afterwrite.store.table_backups import TableBackups
from afterwrite.store.tables import Table

_SEARCHED: Final = ("items", "messages", "buffers", "parked", "completions", "archive", "kinesis_records", "ledger")
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased, by what it is, and what is left and named: each with where it is."""

    key: str
    erased: Mapping[str, int]
    left: Sequence[str]


class _DryRun(Exception):
    """Nothing is to be kept of the transaction."""

    def __init__(self, done: Counter[str]) -> None:
        super().__init__("dry run")
        self.done = done


def forget(
    data: Path,
    key: str,
    *,
    also: Collection[str] = (),
    only_tables: Collection[str] = (),
    app: App | None = None,
    dry_run: bool = False,
) -> Forgotten:
    """Erase everything of the partition key `key` from the directory `data`; with `dry_run` only say what that is.

    `also` are other texts that stand for the same person, such as a session's id. They and the key count wherever they
    are a whole value. Every table is meant, or `only_tables`. The `app` tells what caches and search indexes hold of
    an item; one with such that are not in the directory must be given. Raises DataDirectoryInUse while an engine runs,
    CommandError where it is not, and where nothing is known of the key, StorageFull and StorageError.
    """
    directory = DataDirectory(data)
    store = directory.existing_store()
    lock = DirectoryLock(directory)
    try:
        environment = Environment(store)
        try:
            return _forget(directory, environment, key, also, only_tables, app, dry_run=dry_run)
        finally:
            environment.close()
    finally:
        lock.release()


def _forget(
    directory: DataDirectory,
    environment: Environment,
    key: str,
    also: Collection[str],
    only_tables: Collection[str],
    app: App | None,
    *,
    dry_run: bool,
) -> Forgotten:
    with environment.read() as transaction:
        catalog = tables.load_catalog(transaction)
        _refuse_restoring(catalog)
        found = _meant(catalog, only_tables)
        topology: Mapping[str, Any] = ledger.note(transaction, "topology") or {}
        views.refuse_other_app(app, topology)
        subject = _subject(key, also, found, topology)
        subject = subject.with_changes(erasure.change_ids(transaction, subject))
        logs = list(topology.get("audit_logs", []))
        lanes = {log: _lanes(transaction, subject, log) for log in logs}
        leaving = views.removals(transaction, app, subject, found)
    environment.state["catalog"] = catalog
    # Files come first: after a crash the changes, by which what is in them is known, are still there.
    from_lake = lake_erasure.erase(directory.lake, subject, dry_run=dry_run)
    from_search = _erase_documents(directory, environment, subject, found, app, leaving, dry_run=dry_run)
    done = _erase_store(environment, subject, found, lanes, leaving, dry_run=dry_run)
    done["lake records"] = from_lake
    done["search documents"] = from_search
    taken = views.take_out(app, leaving, now_ms=environment.now_ms(), dry_run=dry_run)
    done.update(taken.erased)
    if not dry_run:
        environment.write(lambda transaction: erasure.erase_messages(transaction, subject, taken.queues))
    left = (
        taken.left
        + views.undeclared(app, topology)
        + list(_left(directory, environment, subject, logs, dry_run=dry_run))
    )
    if not +done and not left:
        raise CommandError(
            f"expected a partition key that something is kept of, found nothing of {key!r} in "
            f"{', '.join(table.name for table in found)}: check the key, and that it is whole"
        )
    if not dry_run:
        TableBackups(directory.backups).sweep(restoring=())
        close_and_compact(environment, directory.store)
    return Forgotten(key, {what: count for what, count in done.items() if count}, left)


def _meant(catalog: tables.Catalog, only: Collection[str]) -> list[Table]:
    unknown = [name for name in only if name not in catalog]
    if unknown or not catalog:
        raise CommandError(f"expected tables of {', '.join(catalog) or '(there is none)'}, got {', '.join(unknown)}")
    return [table for name, table in catalog.items() if not only or name in only]


def _refuse_restoring(catalog: tables.Catalog) -> None:
    """Raise CommandError where a table is being restored: what it is restored from would bring everything back."""
    names = [own for name in catalog if (own := table_restoring.own_name(name)) != name]
    if names:
        raise CommandError(
            f"expected tables that are whole, got {', '.join(names)}, which is being restored: start the engine until "
            "DescribeTable says ACTIVE, stop it, and forget then"
        )


def _subject(key: str, also: Collection[str], found: Sequence[Table], topology: Mapping[str, Any]) -> Subject:
    keys: dict[str, Mapping[str, Mapping[str, str]]] = {}
    is_text = False
    for table in found:
        value = _wire_key(table, key)
        if value is not None:
            keys[table.name] = {table.schema.partition_key: value}
            is_text = is_text or "S" in value
    orders = {name: order for name, order in topology.get("orders", {}).items() if name in keys}
    # A number is a value of so much else that it names nobody.
    return Subject(keys, orders, frozenset((*also, *([key] if is_text else []))))


def _wire_key(table: Table, key: str) -> Any:
    kind = table.schema.partition_type
    if kind != "N":
        return {kind: key}
    try:
        return {"N": normalize_number(key)}
    except InvalidValue:
        return None


def _lanes(transaction: ReadTransaction, subject: Subject, log: str) -> list[str]:
    return [each.lane for each in sealing.data_keys(transaction, log) if subject.has_lane(each.lane)]


def _erase_documents(
    directory: DataDirectory,
    environment: Environment,
    subject: Subject,
    found: Sequence[Table],
    app: App | None,
    leaving: Removals,
    *,
    dry_run: bool,
) -> int:
    """Erase the subject's documents from every embedded search index; how many there were."""
    declared = {} if app is None else {index.name: leaving.ids(index) for index in app.search_indexes}
    erased = 0
    with environment.read() as transaction:
        for path in search_index.index_files(directory.search):
            ids = declared.get(path.stem, frozenset())
            is_own = views.own_documents(transaction, subject, found, ids)
            erased += search_erasure.erase(path, is_own, at_ms=environment.now_ms(), dry_run=dry_run)
    return erased


def _erase_store(
    environment: Environment,
    subject: Subject,
    found: Sequence[Table],
    lanes: Mapping[str, Sequence[str]],
    leaving: Removals,
    *,
    dry_run: bool,
) -> Counter[str]:
    def operation(transaction: WriteTransaction) -> Counter[str]:
        done = erasure.erase(transaction, subject, [table for table in found if table.name in subject.keys])
        for log, each in lanes.items():
            for lane in each:
                sealing.destroy_key(transaction, log, lane)
                done["audit keys"] += 1
        if dry_run:
            raise _DryRun(done)
        views.keep(transaction, leaving)
        return done

    try:
        return environment.write(operation)
    except _DryRun as nothing_kept:
        return nothing_kept.done


def _left(
    directory: DataDirectory, environment: Environment, subject: Subject, logs: Sequence[str], *, dry_run: bool
) -> Iterator[str]:
    """What still names the subject and is not this module's to erase."""
    with environment.read() as transaction:
        if not dry_run:
            for database, count in erasure.remains(transaction, subject, _SEARCHED).items():
                yield f"{count} entries of the store's {database}"
        heads = {log: head_of(transaction, log) for log in logs}
    for log, head in heads.items():
        lines = files.read_lines(directory.audit / log, head) if (directory.audit / log).is_dir() else iter(())
        count = sum(subject.is_named_in(line) for line in lines)
        if count:
            yield f"{count} entries of the audit log {log}, in clear: declare it with forgettable=True"
    for path in sorted(directory.files.rglob("*")) if directory.files.is_dir() else ():
        if path.is_file() and _holds(path, [name.encode() for name in subject.names]):
            yield f"{path}, which a function wrote"


def _holds(path: Path, names: Sequence[bytes]) -> bool:
    overlap = max((len(name) for name in names), default=1)
    with path.open("rb") as file:
        before = b""
        while piece := file.read(_READ_BYTES):
            text = before + piece
            if any(name in text for name in names):
                return True
            before = text[-overlap:]
    return False
