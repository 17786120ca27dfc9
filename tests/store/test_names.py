"""Numbers given to names: the same for ever, and none from a request that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.names import ensure_number, names, number_of
from embedded import Clock, open_store


def test_a_name_keeps_its_number_and_shares_it_with_nobody(tmp_path: Path, clock: Clock) -> None:
    environment = open_store(tmp_path / "s", clock)
    pairs = [("queue", "a"), ("queue", "b"), ("buffer", "a")]

    def ensure_all(transaction: WriteTransaction) -> list[int]:
        return [ensure_number(transaction, *pair) for pair in pairs]

    first = environment.write(ensure_all)
    assert len(set(first)) == 3
    assert environment.write(ensure_all) == first
    environment.close()
    again = open_store(tmp_path / "s", clock)
    assert again.write(ensure_all) == first
    with again.read() as transaction:
        assert names(transaction, "queue") == {"a": first[0], "b": first[1]}
        assert number_of(transaction, "queue", "c") is None
    again.close()


def test_a_number_given_in_a_request_that_failed_was_never_given(environment: Environment) -> None:
    def fail(transaction: WriteTransaction) -> None:
        ensure_number(transaction, "queue", "undone")
        raise ValueError("after writing")

    with pytest.raises(ValueError, match="after writing"):
        environment.write(fail)
    kept = environment.write(lambda transaction: ensure_number(transaction, "queue", "kept"))
    undone = environment.write(lambda transaction: ensure_number(transaction, "queue", "undone"))
    assert kept != undone
    with environment.read() as transaction:
        assert names(transaction, "queue") == {"kept": kept, "undone": undone}
