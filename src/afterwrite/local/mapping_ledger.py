"""What keeps an event source mapping's positions in the store, and takes its failure messages."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from afterwrite.app import App, Function, Queue, Topic
from afterwrite.config import Identity
from afterwrite.core import json_text
from afterwrite.core.effects import Effect, Enqueue, Invoke, Publish, StampedEffect
from afterwrite.core.event_source_mapping.declaration import EventSourceMapping
from afterwrite.core.event_source_mapping.failures import MappingIdentity, object_key
from afterwrite.core.event_source_mapping.given_up import GivenUp
from afterwrite.core.event_source_mapping.ports import FailureNotice
from afterwrite.core.placements import Placement
from afterwrite.errors import DeclarationError
from afterwrite.local.fan_out import FanOut
from afterwrite.local.steps import put_all
from afterwrite.store import given_up, ledger
from afterwrite.store.durable_files import create_directory, storage_errors, sync_directory, write_file
from afterwrite.store.environment import Environment, ReadTransaction, WriteTransaction

_PREFIX: Final = "event-source-mapping/"
_ARN: Final = re.compile(r"arn:aws[a-z-]*:(sqs|sns|lambda|s3):[^:]*:[^:]*:(?:function:)?([A-Za-z0-9._-]{1,255})")


def function_arn(identity: Identity, name: str) -> str:
    """The ARN of a function."""
    return f"arn:aws:lambda:{identity.region}:{identity.account_id}:function:{name}"


class EmbeddedMappingLedger:
    """The MappingLedger of the embedded engine. Raises DeclarationError for a destination that the app has not."""

    def __init__(
        self,
        environment: Environment,
        fan_out: FanOut,
        app: App,
        mapping: EventSourceMapping,
        identity: MappingIdentity,
        files: Path,
    ) -> None:
        self._environment = environment
        self._fan_out = fan_out
        self._identity = identity
        self._files = files
        self._prefix = f"{_PREFIX}{identity.uuid}/"
        self._destination = _resolved(app, mapping)

    def load(self) -> Mapping[int, Mapping[str, Any]] | None:
        """What was kept of each shard, by its number; None where the mapping never ran."""
        with self._environment.read() as transaction:
            if ledger.note(transaction, self._prefix) is None:
                return None
            kept = dict(ledger.notes(transaction, self._prefix))
        return {int(number): form for number, form in kept.items() if number}

    def commit(self, kept: Mapping[int, Mapping[str, Any] | None], notices: Sequence[FailureNotice]) -> None:
        """Keep these of the shards, None for one that is forgotten, and send the messages. Raises StorageError."""
        placements: list[Placement] = []
        for notice in notices:
            if isinstance(self._destination, str):
                self._write_object(self._destination, notice)
            elif self._destination is not None:
                effect = _effect(self._destination, notice.message)
                stamped = StampedEffect(notice.id, notice.lane, notice.at_ms, effect)
                placements.extend(self._fan_out.place(stamped))

        def operation(transaction: WriteTransaction) -> None:
            if ledger.note(transaction, self._prefix) is None:
                about = {"function_arn": self._identity.function_arn, "stream_arn": self._identity.stream_arn}
                ledger.keep_note(transaction, self._prefix, about)
            for number, form in kept.items():
                if form is None:
                    ledger.forget_note(transaction, f"{self._prefix}{number}")
                else:
                    ledger.keep_note(transaction, f"{self._prefix}{number}", form)
            for notice in notices:
                if notice.batch is not None:
                    given_up.keep(transaction, self._identity.uuid, notice.batch)
            put_all(transaction, placements)

        self._environment.write(operation)

    def _write_object(self, bucket: str, notice: FailureNotice) -> None:
        """Write the message with its payload into a file, under the key that it would have in a bucket (S14)."""
        key = object_key(self._identity, shard_id=notice.shard_id, at_ms=notice.at_ms, unique=notice.id)
        path = self._files / bucket / key
        with storage_errors(path):
            create_directory(path.parent)
            write_file(path, json_text.dumps({**notice.message, "payload": notice.payload.decode()}))
            sync_directory(path.parent)


class EmbeddedGivenUp:
    """The GivenUpBatches of the embedded engine."""

    def __init__(self, environment: Environment, uuid: str) -> None:
        self._environment = environment
        self._uuid = uuid

    def next_asked(self) -> tuple[str, GivenUp] | None:
        """The first one that is asked for, with its key."""
        with self._environment.read() as transaction:
            kept = given_up.first_asked(transaction, self._uuid)
        return None if kept is None else (kept.key, kept.batch)

    def keep(self, key: str, batch: GivenUp | None) -> None:
        """Keep what has become of one, None where all of it is handled. Raises StorageError."""
        self._environment.write(partial(given_up.change, uuid=self._uuid, key=key, batch=batch))

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever one may be asked for."""
        self._environment.signals.watch([given_up.signal(self._uuid)], event)


@dataclass(frozen=True, slots=True)
class MappingProgress:
    """How far a mapping is: the position up to which all is done, what is being tried, and the iterator age (S16).

    `done_through` is None before its start; `by_shard` is the same of each shard, None where all of it is done.
    """

    done_through: int | None = None
    by_shard: Mapping[int, int | None] = field(default_factory=dict)
    pieces: int = 0
    iterator_age_ms: int | None = None


def progress(transaction: ReadTransaction, uuid: str) -> MappingProgress:
    """How far the mapping with the UUID is, as it was kept last."""
    forms = {int(number): form for number, form in ledger.notes(transaction, f"{_PREFIX}{uuid}/") if number}
    lanes = [lane for form in forms.values() for lane in form.get("lanes", ())]
    return MappingProgress(
        done_through=min((lane["through"] for lane in lanes), default=None),
        by_shard={
            number: min((lane["through"] for lane in form.get("lanes", ())), default=None)
            for number, form in forms.items()
        },
        pieces=sum(len(lane["pieces"]) for lane in lanes),
        iterator_age_ms=max((lane["iterator_age_ms"] or 0 for lane in lanes), default=None),
    )


def _effect(destination: Queue | Topic | Function, message: Mapping[str, Any]) -> Effect:
    if isinstance(destination, Queue):
        return Enqueue(destination.name, message)
    if isinstance(destination, Topic):
        return Publish(destination.name, message)
    return Invoke(destination.name, message)


def _resolved(app: App, mapping: EventSourceMapping) -> Queue | Topic | Function | str | None:
    """The destination that a mapping names: declared, or a directory's name, or none."""
    destination = mapping.destination
    if destination is None:
        return None
    declared: Mapping[str, Sequence[Queue | Topic | Function]] = {
        "sqs": app.queues,
        "sns": app.topics,
        "lambda": app.functions,
    }
    if isinstance(destination, str):
        match = _ARN.fullmatch(destination)
        if match is not None and match[1] == "s3" and not match[2].startswith("."):
            return match[2]
        found = [] if match is None else [each for each in declared.get(match[1], ()) if each.name == match[2]]
    else:
        found = [each for kind in declared.values() for each in kind if each is destination]
    if not found:
        raise DeclarationError(
            f"expected a queue, a topic or a function of this app, or its ARN, or arn:aws:s3:::NAME, as the failure "
            f"destination of {mapping.function_name}, got {destination!r}"
        )
    return found[0]
