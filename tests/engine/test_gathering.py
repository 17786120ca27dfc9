"""Threads' entries become one request while another is under way, and each thread learns what became of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from afterwrite.core.batching import Entry, Limits
from afterwrite.core.target_failures import TargetFailure
from afterwrite.engine.gathering import Gathering
from bounds import BOUND_S
from engine_process import wait_until

LIMITS = Limits(entries=4, request_bytes=1_000, entry_bytes=1_000)
REFUSED = TargetFailure("t", "rejected", "Refused", "no odd ones")


def entry(number: int) -> Entry:
    return Entry(f"e-{number}", f"lane-{number}", number, 10)


class Target:
    """Holds its first request until it is let go; refuses odd entries, and raises on 13."""

    def __init__(self) -> None:
        self.requests: list[list[int]] = []
        self.go = threading.Event()

    def send(self, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        self.requests.append([each.body for each in entries])
        if len(self.requests) == 1:
            assert self.go.wait(BOUND_S)
        if any(each.body == 13 for each in entries):
            raise OSError("gone")
        return [REFUSED if each.body % 2 else None for each in entries]


def test_what_comes_meanwhile_is_the_next_request_within_the_limits() -> None:
    target = Target()
    gathering = Gathering(LIMITS, target.send)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(gathering.perform, entry(0))
        wait_until(lambda: target.requests == [[0]])
        others = [threads.submit(gathering.perform, entry(number)) for number in range(1, 7)]
        wait_until(lambda: len(gathering._waiting) == 6)
        target.go.set()
        assert first.result() is None
        assert [each.result() for each in others] == [REFUSED, None] * 3
    assert [len(request) for request in target.requests] == [1, 4, 2]
    assert sorted(number for request in target.requests for number in request) == list(range(7))


def test_an_error_of_a_request_is_that_of_all_its_threads_and_of_no_other() -> None:
    target = Target()
    target.go.set()
    gathering = Gathering(LIMITS, target.send)
    with pytest.raises(OSError, match="gone"):
        gathering.perform(entry(13))
    assert gathering.perform(entry(14)) is None
