"""Our answers beside DynamoDB Local's: live where Java and npm can provide it, else as they were recorded.

`differences.json` lists where DynamoDB Local is not DynamoDB, each with the word for it; any other difference fails.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.peers import dynamodb_local
from bench.processes import Unavailable
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from differential import recording
from differential.comparison import listed
from differential.machine import Comparison, Pair, agree, fresh_tables
from differential.recording import Case
from differential.systems import Ours, Theirs, ours, theirs

# Without these, the runs are always the same ones, and few enough for every run of the tests.
RUNS = int(os.environ.get("AFTERWRITE_DIFFERENTIAL_RUNS", "15"))
SECONDS = float(os.environ.get("AFTERWRITE_DIFFERENTIAL_SECONDS", "40"))
SEED = os.environ.get("AFTERWRITE_DIFFERENTIAL_SEED")
RECORD = "AFTERWRITE_DIFFERENTIAL_RECORD" in os.environ
STEPS = 40


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Ours]:
    with ours(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(scope="module")
def peer() -> Iterator[Theirs | None]:
    """DynamoDB Local; None where it cannot be had."""
    try:
        with dynamodb_local() as system, theirs(system) as connected:
            yield connected
    except Unavailable:
        yield None


@pytest.mark.timeout(3600)
def test_answers_and_streams_are_dynamodb_locals(engine: Ours, peer: Theirs | None) -> None:
    if peer is None:
        pytest.skip("DynamoDB Local cannot be had here: Java or npm is missing; its recorded answers are compared")
    runs: list[list[Case]] = []
    pair = Pair(engine, peer)

    class Recorded(Comparison):
        def teardown(self) -> None:
            super().teardown()
            if pair.answered:
                runs.append(list(pair.answered))

    Recorded.pair, Recorded.until_s = pair, time.monotonic() + SECONDS
    machine: Any = Recorded if SEED is None else seed(int(SEED))(Recorded)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            derandomize=SEED is None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert len(runs[0]) > STEPS / 2
    if RECORD:
        recording.save(runs)


def test_answers_and_streams_are_those_recorded(engine: Ours) -> None:
    compared = 0
    for run in recording.load():
        fresh_tables(engine)
        for operation, body, answer in run:
            compared += 1
            if not agree(engine, operation, body, answer):
                break
    assert compared > 2000


def test_every_difference_has_a_reason_and_a_source() -> None:
    names = [each.name for each in listed()]
    assert len(set(names)) == len(names)
    assert all(each.why and each.source for each in listed())
