"""An engine that faults kill at named points, and that goes on each time where it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError

from afterwrite.errors import AfterwriteError
from afterwrite.testing import AnswerLost, At, Crash, Duplicate, EngineProcess
from bounds import BOUND_S
from engine_process import wait_until
from faults.reconciliation import APP, check, settled
from server.clients import dynamodb_client

RULES = [
    At("step:things", Crash("after"), nth=2),
    At("function:count", Crash("after"), nth=4),
    At("flush:lake-facts", Crash("before"), nth=2),
    At("function:count", AnswerLost(), nth=2),
    At("function:count", Duplicate(), nth=3),
]


def test_crashes_at_named_points_lose_and_repeat_nothing(tmp_path: Path) -> None:
    with EngineProcess(APP, tmp_path / "data", RULES) as engine:
        client = dynamodb_client(engine.url)

        def put(number: int) -> bool:
            try:
                client.put_item(TableName="things", Item={"pk": {"S": f"p{number % 5}"}, "sk": {"S": f"{number:05}"}})
            except BotoCoreError:
                return False
            return True

        number = 0
        while sum(engine.happened.values()) < len(RULES):
            engine.check()
            number += 1
            assert number < 5_000, f"only {engine.happened} have happened"
            wait_until(lambda number=number: put(number), bound_s=BOUND_S)  # type: ignore[misc]
        wait_until(lambda: engine.starts >= 4, what="the last start")
        settled(tmp_path / "data")
        engine.stop()
    assert engine.happened == {"Crash": 3, "AnswerLost": 1, "Duplicate": 1}
    changes = check(tmp_path / "data")
    assert len(changes) == number


PRINTING = """
from afterwrite import App

print("loading")
app = App("shop")
things = app.table("things", partition_key="pk")


@things.on()
def speak(change):
    print("a change")
    raise ValueError
"""


def test_an_engine_is_found_again_whatever_its_app_prints(tmp_path: Path) -> None:
    """As it starts the second time, the route prints before the engine listens."""
    (tmp_path / "app.py").write_text(PRINTING)
    with EngineProcess(tmp_path / "app.py", tmp_path / "data") as engine:
        dynamodb_client(engine.url).put_item(TableName="things", Item={"pk": {"S": "a"}})
        engine.kill()
        wait_until(lambda: engine.starts == 2)
        engine.stop()


def test_an_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("raise ValueError('no app')")
    process = EngineProcess(str(tmp_path / "app.py"), str(tmp_path / "data"))
    with pytest.raises(AfterwriteError, match=r"ended with 2 before it listened[^$]*no app"), process:
        pass
