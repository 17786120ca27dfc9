"""Entries of items that expire: neighbours where the items are, and none left behind by an older form of their keys."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwrite.store import expirations
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.names import U32, U64

TABLE = 7
SECOND = 1_800_000_000


def stored_at(partition: str, sort_key: str) -> bytes:
    return U32.pack(TABLE) + hashlib.blake2b(partition.encode(), digest_size=16).digest() + sort_key.encode()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    environment = Environment(tmp_path / "store")
    yield environment
    environment.close()


def due(environment: Environment, now_s: int) -> list[bytes]:
    with environment.read() as transaction:
        return list(expirations.due(transaction, TABLE, now_s))


def test_the_items_of_a_partition_that_expire_together_stand_together(environment: Environment) -> None:
    places = [stored_at(f"session {n % 20}", f"turn {n // 20}") for n in range(400)]
    random.Random(1).shuffle(places)

    def keep(transaction: WriteTransaction) -> None:
        for place in places:
            expirations.move(transaction, TABLE, place, 0, SECOND)

    environment.write(keep)
    found = due(environment, SECOND)
    assert sorted(found) == sorted(places)
    partitions = [place[:20] for place in found]
    assert sum(partition != before for partition, before in zip(partitions[1:], partitions, strict=False)) == 19


def test_an_entry_of_the_older_form_goes_with_its_second(environment: Environment) -> None:
    place, other = stored_at("session", "turn 1"), stored_at("session", "turn 2")

    def keep_as_before(transaction: WriteTransaction) -> None:
        for each in (place, other):
            digest = hashlib.blake2b(each, digest_size=12).digest()
            transaction.put("expirations", U32.pack(TABLE) + U64.pack(SECOND) + digest, each)

    environment.write(keep_as_before)
    assert sorted(due(environment, SECOND)) == [place, other]
    environment.write(lambda transaction: expirations.move(transaction, TABLE, place, SECOND, SECOND + 60))
    assert due(environment, SECOND) == [other]
    assert due(environment, SECOND + 60) == [other, place]
    environment.write(lambda transaction: expirations.move(transaction, TABLE, place, SECOND + 60, 0))
    assert due(environment, SECOND + 60) == [other]
