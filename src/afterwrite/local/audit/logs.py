"""Audit logs: entries wait in a durable buffer and are appended to the hash-chained files."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from afterwrite.app import AuditLog
from afterwrite.core.lanes import lane_and_text
from afterwrite.local.audit.digests import AuditDigests, identity
from afterwrite.local.audit.files import EMPTY_HEAD, AuditEntry, AuditFiles, AuditHead, drop_before
from afterwrite.local.audit.sealing import DataKey, EntrySealer, keep_key
from afterwrite.local.file_buffers import audit_buffer, flush_at_ms
from afterwrite.store import buffers, ledger
from afterwrite.store.buffers import Buffered
from afterwrite.store.environment import Environment, ReadTransaction, WriteTransaction

# Entries wait this long for company: a commit of the files costs a sync of its own.
_LINGER_S: Final = 0.1
_BATCH_RECORDS: Final = 2_000
_BATCH_BYTES: Final = 4 << 20


def head_of(transaction: ReadTransaction, audit_log: str) -> AuditHead:
    """The committed end of an audit log."""
    kept: dict[str, Any] | None = ledger.note(transaction, f"audit-head/{audit_log}")
    return EMPTY_HEAD if kept is None else AuditHead(**kept)


def digest_of(transaction: ReadTransaction, audit_log: str) -> dict[str, Any] | None:
    """What is kept of an audit log's last digest: its number and SHA-256; None where it has none."""
    kept: dict[str, Any] | None = ledger.note(transaction, f"audit-digest/{audit_log}")
    return kept


def _take_out(
    transaction: WriteTransaction, *, log: str, new_keys: Sequence[DataKey], head: Mapping[str, Any], last: int
) -> int:
    """Take entries that are in the files out of the buffer, with the files' new end; how many they were."""
    for key in new_keys:
        keep_key(transaction, log, key)
    ledger.keep_note(transaction, f"audit-head/{log}", head)
    return buffers.remove_through(transaction, audit_buffer(log), last)


class AuditSink:
    """The Sink of an audit log: entries reach the files exactly once.

    The files' end is committed with the entries' removal from the buffer; what a crash left beyond that end is
    cut off and appended again.
    """

    def __init__(
        self,
        environment: Environment,
        log: AuditLog,
        directory: Path,
        digests: AuditDigests | None = None,
        sealer: EntrySealer | None = None,
    ) -> None:
        self._environment = environment
        self._log = log
        self._buffer = audit_buffer(log.name)
        self._directory = directory
        self._files = AuditFiles(directory)
        self._digests = digests
        self._sealer = sealer
        self._retained_from: Any = None
        self._open()

    def _open(self) -> None:
        with self._environment.read() as transaction:
            self._head = head_of(transaction, self._log.name)
        self._files.open(self._head)

    def close(self) -> None:
        """Sign for what there is, and let go of the files; the next flush would open them again."""
        try:
            self._sign(closing=True)
        finally:
            self._files.close()

    def _sign(self, *, closing: bool = False) -> None:
        """Write the digest that is due, and have the store know of it."""
        if self._digests is None:
            return
        signed = self._digests.work(self._head, self._environment.now_ms(), closing=closing)
        if signed is not None:
            kept = identity(signed)
            name = f"audit-digest/{self._log.name}"
            self._environment.write(partial(ledger.keep_note, name=name, value=kept))

    def next_flush_ms(self, now_ms: int) -> int | None:
        """When the buffer is to be flushed by its limits of time and size, or a digest is due."""
        with self._environment.read() as transaction:
            fill = buffers.fill(transaction, self._buffer)
        flush_ms = flush_at_ms(fill, buffer_seconds=_LINGER_S, buffer_bytes=_BATCH_BYTES, now_ms=now_ms)
        digest_ms = None if self._digests is None else self._digests.due_ms(self._head, now_ms)
        return min((each for each in (flush_ms, digest_ms) if each is not None), default=None)

    def flush(self) -> int:
        """Append what waits, at most one batch; how many entries that was."""
        with self._environment.read() as transaction:
            waiting = list(buffers.read(transaction, self._buffer, records_max=_BATCH_RECORDS, bytes_max=_BATCH_BYTES))
        if not waiting:
            self._sign()
            return 0
        if not self._files.is_open:
            self._open()
        head = self._files.append(self._entries(waiting))
        new_keys = [] if self._sealer is None else list(self._sealer.unkept)

        try:
            removed = self._environment.write(
                partial(_take_out, log=self._log.name, new_keys=new_keys, head=asdict(head), last=waiting[-1].sequence)
            )
        except BaseException:
            # What was appended is beyond the committed end: opening cuts it off.
            self._files.close()
            if self._sealer is not None:
                self._sealer.drop_unkept()
            raise
        if self._sealer is not None:
            self._sealer.kept()
        self._head = head
        self._drop_old(waiting[-1].at_ms)
        self._sign()
        return removed

    def _entries(self, waiting: Sequence[Buffered]) -> list[AuditEntry]:
        """What waits as it is appended: encrypted where the log is forgettable."""
        if self._sealer is None:
            return [AuditEntry(each.id, each.at_ms, lane_and_text(each.text)[1]) for each in waiting]
        with self._environment.read() as transaction:
            sealed = [self._sealer.seal(transaction, each.id, each.text) for each in waiting]
        pairs = zip(waiting, sealed, strict=True)
        return [AuditEntry(each.id, each.at_ms, text) for each, text in pairs]

    def _drop_old(self, now_ms: int) -> None:
        if self._log.retain_days is None:
            return
        day = datetime.fromtimestamp(now_ms / 1000, UTC).date() - timedelta(days=self._log.retain_days)
        if day != self._retained_from:
            drop_before(self._directory, day)
            self._retained_from = day

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever the buffer may have to be flushed earlier."""
        self._environment.signals.watch([buffers.signal(self._buffer)], event)
