"""What was given up and waits for an operator, over the whole store: listed, redriven, dropped.

Four things lie in four places: changes that routes failed on (`ledger`), messages that hold up their lanes
(`queues`), dead letters (their own queues), and batches that event source mappings gave up on (`given_up`). A request
over many entries is worked off in portions, each one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from afterwrite.app import DEAD_LETTERS
from afterwrite.core.failures import Failure
from afterwrite.core.lanes import DIGEST_BYTES, digest
from afterwrite.core.parked import ParkedEntry, Portion, Selection
from afterwrite.store import given_up, ledger, queues, waiting_messages
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U64, names
from afterwrite.store.queues import Message
from afterwrite.store.waiting_messages import ParkedHead

_CHANGES: Final = "0"
_MESSAGES: Final = "1"
_DEAD_LETTERS: Final = "2"
_RECORDS: Final = "3"
_PLACE: Final = re.compile(r"[0123]/[^/]+/([0-9a-f]{2})+")

_Place: TypeAlias = tuple[str, str, bytes]
"""The kind of place, the table, queue or mapping, and the key in it."""


def entries(
    transaction: ReadTransaction, selection: Selection, *, after: str = "", counted: bool = True
) -> Iterator[ParkedEntry]:
    """The entries that are meant, in the order of their places, after a place.

    What waits behind them is counted only where asked; that costs a step a change or message.
    """
    kind, held_in, key = _parsed(after)
    for each, names_of, found in (
        (_CHANGES, lambda: names(transaction, "parked"), _changes),
        (_MESSAGES, lambda: queues.queue_names(transaction), _messages),
        (_DEAD_LETTERS, lambda: _dead_letter_queues(transaction), _dead_letters),
        (_RECORDS, lambda: given_up.mappings(transaction), _records),
    ):
        if each < kind:
            continue
        for name in sorted(names_of()):
            if (each, name) < (kind, held_in):
                continue
            start = key if (each, name) == (kind, held_in) else b""
            yield from filter(selection.admits, found(transaction, name, start, counted))


def _parsed(place: str) -> _Place:
    if not place:
        return "", "", b""
    kind, held_in, key = place.split("/")
    return kind, held_in, bytes.fromhex(key)


def is_place(text: str) -> bool:
    """Whether the text is a place, or empty, which is before all places."""
    return not text or _PLACE.fullmatch(text) is not None


def position_of(entry: ParkedEntry) -> int:
    """The position in its table's stream of a change that is parked."""
    _, _, key = _parsed(entry.place)
    position: int = U64.unpack_from(key, DIGEST_BYTES)[0]
    return position


def _place(kind: str, held_in: str, key: bytes) -> str:
    return f"{kind}/{held_in}/{key.hex()}"


def _dead_letter_queues(transaction: ReadTransaction) -> list[str]:
    return [name for name in queues.queue_names(transaction) if name.endswith(DEAD_LETTERS)]


def _changes(transaction: ReadTransaction, table: str, after: bytes, counted: bool) -> Iterator[ParkedEntry]:
    for parked in ledger.parked_heads(transaction, table, after=after[:DIGEST_BYTES]):
        record = parked.change
        yield ParkedEntry(
            place=_place(_CHANGES, table, digest(parked.lane) + U64.pack(parked.position)),
            kind="change",
            held_in=table,
            lane=parked.lane,
            id=record["eventID"],
            failure=parked.failure,
            condition="a route failed" if parked.failure is not None else "its predecessor was dropped",
            attempts=parked.attempts,
            created_at_ms=int(record["dynamodb"]["ApproximateCreationDateTime"] * 1000),
            parked_at_ms=parked.at_ms,
            behind=ledger.parked_count(transaction, table, parked.lane) - 1 if counted else 0,
            payload=record,
        )


def _messages(transaction: ReadTransaction, queue: str, after: bytes, counted: bool) -> Iterator[ParkedEntry]:
    for head in waiting_messages.parked_heads(transaction, queue, after=after):
        message = _readable(head)
        yield ParkedEntry(
            place=_place(_MESSAGES, queue, head.lane_digest + U64.pack(head.arrival)),
            kind="message",
            held_in=queue,
            lane=head.lane if head.lane is not None else f"digest {head.lane_digest.hex()}",
            id=head.message_id,
            failure=head.failure,
            condition=head.condition,
            attempts=head.attempts,
            created_at_ms=None if message is None else message.sent_at_ms,
            parked_at_ms=head.at_ms,
            behind=waiting_messages.lane_depth(transaction, queue, head.lane_digest) - 1 if counted else 0,
            payload=head.stored if message is None else _payload(message),
        )


def _readable(head: ParkedHead) -> Message | None:
    if head.condition == "unreadable" or head.stored is None:
        return None
    return queues.decode(U64.pack(0) + head.stored)


def _payload(message: Message) -> dict[str, Any]:
    payload: dict[str, Any] = {"body": message.body}
    if message.subject is not None:
        payload["subject"] = message.subject
    attributes = queues.revived(message).attributes
    if attributes:
        payload["attributes"] = attributes
    if message.wire is not None:
        payload["wire"] = message.wire
    return payload


def _dead_letters(transaction: ReadTransaction, queue: str, after: bytes, _counted: bool) -> Iterator[ParkedEntry]:
    for place, message in waiting_messages.placed_messages(transaction, queue, after=after):
        told = {
            name.removeprefix(queues.DEAD_LETTER): value
            for name, value in (message.attributes or {}).items()
            if name.startswith(queues.DEAD_LETTER)
        }
        if "source" not in told:
            continue  # sent to this queue by the app
        yield ParkedEntry(
            place=_place(_DEAD_LETTERS, queue, place),
            kind="dead letter",
            held_in=told["source"],
            lane=message.lane,
            id=message.id,
            failure=_told_failure(told),
            condition=told["condition"],
            attempts=told["receive_count"],
            created_at_ms=message.sent_at_ms,
            parked_at_ms=told["at_ms"],
            behind=0,
            payload=_payload(message),
        )


def _records(transaction: ReadTransaction, uuid: str, after: bytes, _counted: bool) -> Iterator[ParkedEntry]:
    for kept in given_up.batches(transaction, uuid, after=after.decode("ascii", "replace")):
        batch = kept.batch
        yield ParkedEntry(
            place=_place(_RECORDS, uuid, kept.key.encode()),
            kind="records",
            held_in=batch.source,
            lane=f"{batch.source}/{batch.shard_id}",
            id=f"{batch.shard_id}:{batch.message_about['startSequenceNumber']}",
            failure=batch.failure,
            condition=batch.condition,
            attempts=batch.attempts,
            created_at_ms=batch.arrived_at_ms,
            parked_at_ms=batch.at_ms,
            behind=0,
            payload={"records": batch.records, "past_retention": batch.lost, "failure_message": batch.message},
        )


def _told_failure(told: Mapping[str, Any]) -> Failure:
    """The failure that a dead letter's attributes tell of."""
    return Failure(
        kind=told["kind"],
        reason=told["reason"],
        fingerprint=told["fingerprint"],
        traceback=told.get("traceback", ""),
        raised_by=told.get("function", ""),
    )


def redrive(transaction: WriteTransaction, selection: Selection, *, after: str, limit: int) -> Portion:
    """Let at most `limit` of the entries that are meant, after a place, run again, each lane in order.

    A change's lane is run by its table's routes, at once or at the engine's next start; a message's lane goes on; a
    dead letter is sent to its queue again, behind what waits there. A mapping's function is given its records, at once
    or at the engine's next start.
    """

    def run_again(entry: ParkedEntry) -> None:
        kind, name, key = _parsed(entry.place)
        if kind == _CHANGES:
            ledger.ask_to_redrive(transaction, name, entry.lane)
        elif kind == _RECORDS:
            given_up.ask(transaction, name, key.decode())
        else:
            waiting_messages.unpark(transaction, name, key[:DIGEST_BYTES], U64.unpack_from(key, DIGEST_BYTES)[0])

    return _portion(transaction, selection, after, limit, run_again, lambda entry: _send_again(transaction, entry))


def drop(
    transaction: WriteTransaction, selection: Selection, *, after: str, limit: int, whole_lane: bool = False
) -> Portion:
    """Delete at most `limit` of the entries that are meant, after a place; what waits behind them goes on.

    With `whole_lane` what waits behind them is deleted, too.
    """

    def forget(entry: ParkedEntry) -> None:
        kind, name, key = _parsed(entry.place)
        if kind == _RECORDS:
            given_up.drop(transaction, name, key.decode())
            return
        lane_digest, number = key[:DIGEST_BYTES], U64.unpack_from(key, DIGEST_BYTES)[0]
        if kind == _CHANGES:
            ledger.drop_parked(transaction, name, entry.lane, number, whole_lane=whole_lane)
            # The pipeline holds the lane back until it has seen that nothing is left, or has run what is.
            ledger.ask_to_redrive(transaction, name, entry.lane)
        else:
            waiting_messages.drop_parked(transaction, name, lane_digest, number, whole_lane=whole_lane)

    return _portion(transaction, selection, after, limit, forget, lambda _: None)


def _portion(
    transaction: WriteTransaction,
    selection: Selection,
    after: str,
    limit: int,
    act: Callable[[ParkedEntry], None],
    act_on_dead_letter: Callable[[ParkedEntry], None],
) -> Portion:
    portion: list[ParkedEntry] = []
    for entry in entries(transaction, selection, after=after, counted=False):
        portion.append(entry)
        if len(portion) == limit:
            break
    dead: dict[str, dict[tuple[bytes, int], ParkedEntry]] = {}
    for entry in portion:
        if entry.kind != "dead letter":
            act(entry)
            continue
        _, queue, key = _parsed(entry.place)
        dead.setdefault(queue, {})[key[:DIGEST_BYTES], U64.unpack_from(key, DIGEST_BYTES)[0]] = entry
    done = len(portion) - sum(map(len, dead.values()))
    for queue, of_queue in dead.items():
        for place in sorted(waiting_messages.withdraw(transaction, queue, of_queue.keys())):
            act_on_dead_letter(of_queue[place])
            done += 1
    return Portion(done, portion[-1].place if len(portion) == limit else None)


def _send_again(transaction: WriteTransaction, entry: ParkedEntry) -> None:
    message = Message(
        id=entry.id or "",
        body=entry.payload["body"],
        lane=entry.lane,
        sent_at_ms=entry.created_at_ms or 0,
        subject=entry.payload.get("subject"),
        attributes=entry.payload.get("attributes"),
        wire=entry.payload.get("wire"),
    )
    queues.send(transaction, entry.held_in, entry.lane, queues.encode(message))
