"""Archives of buses: events by the second, and within one as they were archived, however they are read in portions."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from afterwrite.store import archive
from afterwrite.store.environment import Environment, WriteTransaction

START_S = 1_700_000_000


@pytest.mark.parametrize("seed", range(6))
def test_portions_are_what_is_read_at_once(environment: Environment, seed: int) -> None:
    draw = random.Random(seed)
    # Those of older versions have milliseconds.
    times_ms = [(START_S + draw.randrange(4)) * 1000 + draw.choice([0, 0, draw.randrange(1000)]) for _ in range(200)]

    def add(transaction: WriteTransaction) -> None:
        for number, at_ms in enumerate(times_ms):
            archive.add(transaction, "bus", at_ms, b'{"id":"%d"}' % number, keep_until_ms=None)

    environment.write(add)
    from_ms, to_ms = (START_S + draw.randrange(2)) * 1000, (START_S + draw.randrange(2, 5)) * 1000
    found: list[int] = []
    place = b""
    with environment.read() as transaction:
        while portion := list(islice(archive.read(transaction, "bus", from_ms, to_ms, after=place), 7)):
            found.extend(int(each.event["id"]) for each in portion)
            place = portion[-1].place
    wanted = [number for number, at_ms in enumerate(times_ms) if from_ms <= at_ms < to_ms]
    assert found == sorted(wanted, key=lambda number: (times_ms[number] // 1000, number))


def test_a_portion_of_many_events_of_one_second_reads_no_others(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(transaction: WriteTransaction) -> None:
        for number in range(500):
            archive.add(transaction, "bus", START_S * 1000, b'{"id":"%d"}' % number, keep_until_ms=None)

    environment.write(add)
    looked_at: list[bytes] = []
    counted = archive._ordinal

    def count(place: bytes) -> int:
        looked_at.append(place)
        return counted(place)

    monkeypatch.setattr(archive, "_ordinal", count)
    with environment.read() as transaction:
        half = list(islice(archive.read(transaction, "bus"), 250))[-1].place
        looked_at.clear()
        assert [each.event["id"] for each in islice(archive.read(transaction, "bus", after=half), 2)] == ["250", "251"]
    assert len(looked_at) < 10
