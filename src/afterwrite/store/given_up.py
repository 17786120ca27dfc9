"""Batches that event source mappings have given up on, kept until they are handled after all, or dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import orjson

from afterwrite.core.event_source_mapping.given_up import GivenUp
from afterwrite.store import ledger
from afterwrite.store.environment import ReadTransaction, WriteTransaction

_NOTES: Final = "given-up/"
# Which of them are asked for: to find the first costs no look at those that wait.
_ASKED: Final = "given-up-asked/"
_POSITION_DIGITS: Final = 20
_FORGOTTEN: Final = "(what it said is forgotten)"


@dataclass(frozen=True, slots=True)
class Kept:
    """A batch as it is kept: of a mapping, by its UUID, under a key; keys are in the order of the batches."""

    uuid: str
    key: str
    batch: GivenUp


def signal(uuid: str) -> str:
    """What is told when a batch of a mapping is asked for."""
    return f"given-up:{uuid}"


def keep(transaction: WriteTransaction, uuid: str, batch: GivenUp) -> None:
    """Keep a batch that a mapping has given up on."""
    _put(transaction, uuid, f"{batch.after:0{_POSITION_DIGITS}}", batch)


def change(transaction: WriteTransaction, uuid: str, key: str, batch: GivenUp | None) -> None:
    """Keep what has become of a batch, which nobody asks for any more, or nothing; one that was dropped stays away."""
    is_kept = ledger.note(transaction, f"{_NOTES}{uuid}/{key}") is not None
    drop(transaction, uuid, key)
    if is_kept and batch is not None:
        _put(transaction, uuid, key, batch)


def mappings(transaction: ReadTransaction) -> list[str]:
    """The UUIDs of the mappings that have given up on something."""
    found: list[str] = []
    low, high = _name(""), _name("") + b"\xff"
    while (first := transaction.first("ledger", low, high)) is not None:
        found.append(first[0].decode().removeprefix(f"note\0{_NOTES}").partition("/")[0])
        low = _name(f"{found[-1]}/") + b"\xff"
    return found


def batches(transaction: ReadTransaction, uuid: str, *, after: str = "") -> Iterator[Kept]:
    """A mapping's batches, in the order of their keys, after a key."""
    low = _name(f"{uuid}/")
    start = low + after.encode() + b"\0" if after else low
    for key, text in transaction.scan("ledger", start, low + b"\xff"):
        yield Kept(uuid, key[len(low) :].decode(), GivenUp.from_json(orjson.loads(text)))


def first_asked(transaction: ReadTransaction, uuid: str) -> Kept | None:
    """The first batch of a mapping that an operator has asked to be handed to its function again."""
    asked = next(ledger.notes(transaction, f"{_ASKED}{uuid}/"), None)
    if asked is None:
        return None
    key, _ = asked
    return Kept(uuid, key, GivenUp.from_json(ledger.note(transaction, f"{_NOTES}{uuid}/{key}")))


def ask(transaction: WriteTransaction, uuid: str, key: str) -> None:
    """Ask for a batch to be handed to its function again: at once, or when an engine that maps it next starts."""
    if ledger.note(transaction, f"{_NOTES}{uuid}/{key}") is not None:
        ledger.keep_note(transaction, f"{_ASKED}{uuid}/{key}", True)
        transaction.touch(signal(uuid))


def drop(transaction: WriteTransaction, uuid: str, key: str) -> None:
    """Keep nothing of a batch any more."""
    ledger.forget_note(transaction, f"{_NOTES}{uuid}/{key}")
    ledger.forget_note(transaction, f"{_ASKED}{uuid}/{key}")


def forget_reasons(transaction: WriteTransaction) -> int:
    """Forget what functions said when they failed, which may quote records; of how many batches."""
    forgotten = 0
    for uuid in mappings(transaction):
        for kept in list(batches(transaction, uuid)):
            failed = replace(kept.batch.failure, reason=_FORGOTTEN)
            if failed != kept.batch.failure:
                _put(transaction, uuid, kept.key, replace(kept.batch, failure=failed))
                forgotten += 1
    return forgotten


def _put(transaction: WriteTransaction, uuid: str, key: str, batch: GivenUp) -> None:
    ledger.keep_note(transaction, f"{_NOTES}{uuid}/{key}", batch.to_json())


def _name(rest: str) -> bytes:
    return f"note\0{_NOTES}{rest}".encode()
