"""Erasing what the store holds of a subject, in one transaction.

Items are deleted as anybody deletes them, so that a REMOVE follows; but that change has the keys alone, and the
subject's other changes are gone, as if their retention had ended. To be done while no engine runs.
"""

from __future__ import annotations

import binascii
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import orjson

from afterwrite.core import json_text
from afterwrite.core.changes import Change
from afterwrite.core.erasure import Subject
from afterwrite.core.lanes import DIGEST_BYTES, lane_and_text
from afterwrite.store import change_log, given_up, items, kinesis, queues, tables, waiting_messages
from afterwrite.store.buffers import Buffered, NewRecord, encoded_records, records_of
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, names, span
from afterwrite.store.queues import PARKED_HEADS, delete_head
from afterwrite.store.tables import Table
from afterwrite.table.keys import partition_digest, partition_range
from afterwrite.table.writes import parse_delete_item

_HASH_KEY: Final = slice(12, 14)
_STREAM: Final = slice(0, 4)
_FORGOTTEN: Final = b'{"forgotten":true}'
_REDRIVE: Final = b"redrive\0"
_END: Final = b"\xff" * 64
# What names the subject and stays: the REMOVE of each item, by its keys.
_TOLD: Final = "changes"


def erase(transaction: WriteTransaction, subject: Subject, found: Sequence[Table]) -> Counter[str]:
    """Erase the subject's content from the items of the tables `found` and from all that followed; what, how often."""
    done: Counter[str] = Counter()
    before = transaction.counter(change_log.COUNTER)
    kinesis_before = kinesis.newest_position(transaction)
    for table in found:
        done["items"] += _delete_items(transaction, table, subject)
    erased, kept, ids = _erase_changes(transaction, subject, before)
    done["changes"] += erased
    done["removals, which stay"] += kept
    subject = subject.with_changes(ids)
    done["kinesis records"] += _erase_kinesis(transaction, subject, kinesis_before)
    done["parked changes"] += _erase_parked(transaction, subject)
    done["messages"] += erase_messages(transaction, subject, names(transaction, "queue"))
    done["buffered records"] += _erase_buffered(transaction, subject)
    done["archived events"] += _erase_archived(transaction, subject)
    # Which records a failure's words quote nobody can tell.
    done["reasons of failures"] += given_up.forget_reasons(transaction)
    done["results"] += _erase_completions(transaction, subject)
    return done


def changes(transaction: ReadTransaction, subject: Subject) -> Iterator[Change]:
    """The subject's changes that the change log holds, of streams that are there."""
    streams = _streams(transaction)
    for key, value in _changes(transaction, subject):
        if key[_STREAM] in streams:
            yield change_log.decoder(streams[key[_STREAM]])(U64.unpack_from(key, 4)[0], value)


def change_ids(transaction: ReadTransaction, subject: Subject) -> set[str]:
    """The ids of the subject's changes that the change log holds."""
    return {change.id for change in changes(transaction, subject)}


def messages(transaction: ReadTransaction, subject: Subject, queue: str) -> Iterator[queues.Message]:
    """The subject's messages in a queue that can be read."""
    for message in waiting_messages.messages(transaction, queue):
        if _is_message_of(subject, bytes(U64.size) + queues.encode(message)):
            yield message


def remains(transaction: ReadTransaction, subject: Subject, databases: Sequence[str]) -> Counter[str]:
    """What still names the subject, by database; but for the changes that tell of the erasure."""
    left: Counter[str] = Counter()
    for database in databases:
        if database != _TOLD:
            left[database] = sum(subject.is_named_in(value) for _, value in transaction.scan(database, b""))
    return +left


def items_of(transaction: ReadTransaction, table: Table, subject: Subject) -> list[bytes]:
    """The subject's items in a table, as JSON texts."""
    scope = partition_range(subject.partition(table.name))
    return [text for _, text in items.scan(transaction, table, scope.low, scope.high)]


def _delete_items(transaction: WriteTransaction, table: Table, subject: Subject) -> int:
    texts = items_of(transaction, table, subject)
    for text in texts:
        item = orjson.loads(text)
        key = {name: item[name] for name in table.schema.names}
        items.write(transaction, parse_delete_item({"TableName": table.name, "Key": key}))
    return len(texts)


def _streams(transaction: ReadTransaction) -> dict[bytes, change_log.Stream]:
    streams = (table.stream for table in tables.load_catalog(transaction).values())
    return {U32.pack(stream.number): stream for stream in streams if stream is not None}


def _changes(transaction: ReadTransaction, subject: Subject) -> Iterator[tuple[bytes, bytes]]:
    """The subject's changes in every stream, also in one whose table has another by now."""
    hash_keys = {partition_digest(subject.partition(table))[:2] for table in subject.keys}
    found = transaction.scan_wanted("changes", b"", _END, lambda key: key[_HASH_KEY] in hash_keys)
    tables_of = {number: stream.table for number, stream in _streams(transaction).items()}
    for key, value in found:
        if value is not None:
            keys = orjson.loads(change_log.stored_change(value).keys)
            if subject.has_keys(tables_of.get(key[_STREAM]), keys):
                yield key, value


def _erase_changes(transaction: WriteTransaction, subject: Subject, before: int) -> tuple[int, int, set[str]]:
    """How many changes are gone, how many stay that tell of an erasure before, and the ids of all there were.

    What tells of an erasure may not have been read yet: that erasure was interrupted, say, and this one completes it.
    """
    ids = change_ids(transaction, subject)
    erased = kept = 0
    for key, value in list(_changes(transaction, subject)):
        bare = change_log.keys_only(value)
        if U64.unpack_from(key, 4)[0] > before:
            transaction.put("changes", key, bare)
        elif value == bare and change_log.stored_change(value).event_name == "REMOVE":
            kept += 1
        else:
            transaction.delete("changes", key)
            erased += 1
    return erased, kept, ids


def _erase_kinesis(transaction: WriteTransaction, subject: Subject, before: int) -> int:
    erased = 0
    for key, value in list(transaction.scan("kinesis_records", b"")):
        record = kinesis.decode_record(key, value)
        try:
            data = binascii.a2b_base64(record.data)
            change = json_text.loads(data)
            is_change = subject.has_keys(change["tableName"], change["dynamodb"]["Keys"])
        except (ValueError, TypeError, KeyError):
            change, is_change = None, False
        if is_change and record.position > before:
            for image in ("NewImage", "OldImage"):
                change["dynamodb"].pop(image, None)
            text = binascii.b2a_base64(json_text.dumps(change), newline=False)
            transaction.put("kinesis_records", key, value[: len(value) - len(record.data)] + text)
        elif is_change and change["eventName"] == "REMOVE" and "OldImage" not in change["dynamodb"]:
            continue
        elif is_change or record.partition_key in subject.names or subject.is_named_in(data):
            transaction.delete("kinesis_records", key)
            erased += 1
    return erased


def _erase_parked(transaction: WriteTransaction, subject: Subject) -> int:
    erased = 0
    for table, number in names(transaction, "parked").items():
        for key, value in list(transaction.scan("parked", *span(number))):
            fields = orjson.loads(value)
            if subject.has_lane(fields["lane"]) or subject.has_keys(table, fields["change"]["dynamodb"]["Keys"]):
                transaction.delete("parked", key)
                erased += 1
        low, high = (_REDRIVE + bound for bound in span(number))
        for key, lane in list(transaction.scan("ledger", low, high)):
            if subject.has_lane(lane.decode()):
                transaction.delete("ledger", key)
    return erased


def erase_messages(transaction: WriteTransaction, subject: Subject, among: Collection[str]) -> int:
    """Erase the subject's messages from the queues `among`; how many there were."""
    erased = 0
    for queue, number in names(transaction, "queue").items():
        if queue not in among:
            continue
        doomed: dict[bytes, list[bytes]] = {}
        for key, value in transaction.scan("messages", *span(number)):
            if _is_message_of(subject, value):
                doomed.setdefault(key[4 : 4 + DIGEST_BYTES], []).append(key[4 + DIGEST_BYTES :])
        if not doomed:
            continue
        heads = {value[:DIGEST_BYTES]: key for key, value in transaction.scan("ready", *span(number))}
        for lane, arrivals in doomed.items():
            erased += len(arrivals)
            ready = heads.get(lane, b"")
            head = ready[12:]
            for arrival in arrivals:
                if arrival != head:
                    transaction.delete("messages", U32.pack(number) + lane + arrival)
                    transaction.advance(f"depth:{number}", -1)
            if head in arrivals:
                transaction.delete("ready", ready)
                transaction.delete("parked", PARKED_HEADS + U32.pack(number) + lane + head)
                delete_head(transaction, queue, number, lane, U64.unpack(head)[0])
    return erased


def _is_message_of(subject: Subject, value: bytes) -> bool:
    stored = value[U64.size :]
    try:
        fields = orjson.loads(stored)
        if subject.has_lane(fields["lane"]) or subject.has_id(fields["id"]):
            return True
    except (ValueError, TypeError, KeyError):
        pass  # one that cannot be read may name the subject all the same
    return subject.is_named_in(stored)


def _erase_buffered(transaction: WriteTransaction, subject: Subject) -> int:
    """Records for the lake go; of audit entries that are not yet appended the content does."""
    erased = 0
    for buffer, number in names(transaction, "buffer").items():
        is_audit = buffer.startswith("audit/")
        for key, block in list(transaction.scan("buffers", *span(number))):
            first = U64.unpack_from(key, 4)[0]
            kept: dict[int, NewRecord] = {}
            changed = 0
            for record in records_of(first, block):
                own = _is_record_of(subject, record)
                changed += own
                if not own or is_audit:
                    text = _FORGOTTEN if own else record.text
                    kept[record.sequence] = NewRecord(record.id, record.at_ms, text)
                    transaction.advance(f"bytes:{number}", len(text) - len(record.text))
                else:
                    transaction.advance(f"bytes:{number}", -len(record.text))
                    transaction.advance(f"records:{number}", -1)
            if changed:
                transaction.delete("buffers", key)
                for start, run in _runs(kept):
                    transaction.put("buffers", U32.pack(number) + U64.pack(start), encoded_records(run))
                erased += changed
    return erased


def _is_record_of(subject: Subject, record: Buffered) -> bool:
    if subject.has_id(record.id) or subject.is_named_in(record.text):
        return True
    # An entry of a forgettable audit log waits with its lane before it.
    lane, separator, _ = record.text.partition(b"\n")
    return bool(separator) and subject.has_lane(str(json_text.loads(lane)))


def _runs(kept: dict[int, NewRecord]) -> Iterator[tuple[int, list[NewRecord]]]:
    """Records by the sequences they have, in blocks without gaps."""
    start, run = 0, list[NewRecord]()
    for sequence, record in sorted(kept.items()):
        if run and sequence != start + len(run):
            yield start, run
            run = []
        if not run:
            start = sequence
        run.append(record)
    if run:
        yield start, run


def _erase_archived(transaction: WriteTransaction, subject: Subject) -> int:
    doomed = [
        key
        for key, value in transaction.scan("archive", b"")
        if subject.has_lane(lane_and_text(value)[0]) or subject.is_named_in(value)
    ]
    for key in doomed:
        transaction.delete("archive", key)
    return len(doomed)


def _erase_completions(transaction: WriteTransaction, subject: Subject) -> int:
    """What functions have answered goes; that they are done stays, so that nothing is done again."""
    erased = 0
    for key, value in list(transaction.scan("completions", b"")):
        fields = orjson.loads(value)
        if fields["result"] is not None and (subject.has_id(fields["message_id"]) or subject.is_named_in(value)):
            transaction.put("completions", key, json_text.dumps({**fields, "result": None}))
            erased += 1
    return erased
