"""Faults of Lambda functions on a stream, and rules that name nothing of the app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afterwrite import App
from afterwrite.errors import AfterwriteError, DeclarationError
from afterwrite.testing import (
    AnswerLost,
    At,
    Crash,
    DiskFull,
    Duplicate,
    EngineProcess,
    FaultyEngine,
    Poison,
    Rejected,
    Slow,
    Throttled,
)
from engine_process import wait_until


class Mapped:
    """An app with one function on a table's stream, which notes the records it gets."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.app = App("mapped")
        things = self.app.table("things", partition_key="pk")
        failed = self.app.queue("failed")

        def handler(event: Any, context: Any) -> None:
            self.got += [record["dynamodb"]["Keys"]["pk"]["S"] for record in event["Records"]]

        things.event_source_mapping(
            handler,
            FunctionName="ship",
            BatchSize=1,
            MaximumRetryAttempts=0,
            DestinationConfig={"OnFailure": {"Destination": failed}},
        )

    def run(self, path: Path, *rules: At) -> list[str]:
        """Write a, b and c under the rules; the conditions of the failure messages."""
        with FaultyEngine(path / "data", self.app, rules) as engine:
            for pk in "abc":
                engine.table("things").put({"pk": pk})
            wait_until(engine.reader().idle, what="rest")
            assert {each.point for each in engine.happened} == {"function:ship"}
            return [message.body["requestContext"]["condition"] for message in engine.reader().messages("failed")]


@pytest.mark.parametrize(
    ("fault", "got", "given_up"),
    [
        (Throttled(), ["a", "b", "c"], 0),
        (Slow(0.01), ["a", "b", "c"], 0),
        (Duplicate(), ["a", "a", "b", "c"], 0),
        (Rejected(), ["b", "c"], 1),
        (AnswerLost(), ["a", "b", "c"], 1),
        (Poison('"S":"b"'), ["a", "c"], 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faults_of_a_mapped_function(tmp_path: Path, fault: Any, got: list[str], given_up: int) -> None:
    mapped = Mapped()
    assert mapped.run(tmp_path, At("function:ship", fault)) == ["RetryAttemptsExhausted"] * given_up
    assert mapped.got == got


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (At("function:shop", Throttled()), r"\(function: function:ship\), got 'function:shop'"),
        (At("function:shi?x*", Throttled()), "got 'function:shi"),
        (At("step:things", Rejected()), r"\(step: none\), got 'step:things'"),
        (At("flush:lake-facts", DiskFull()), "got 'flush:lake-facts'"),
        (At("request:PutItem", Throttled()), r"request:SERVICE.OPERATION with one of DynamoDB_20120810, .* got"),
    ],
    ids=lambda value: value.point if isinstance(value, At) else "",
)
def test_a_rule_that_could_never_fire_is_refused(tmp_path: Path, rule: At, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        FaultyEngine(tmp_path / "data", Mapped().app, [rule])


def test_a_process_says_that_a_rule_could_never_fire(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from afterwrite import App\napp = App('tables')\n")
    rules = [At("function:ship", Crash())]
    with (
        pytest.raises(AfterwriteError, match="a point that the app tables has"),
        EngineProcess(tmp_path / "app.py", tmp_path / "data", rules),
    ):
        pass


def test_a_crash_is_before_or_after() -> None:
    with pytest.raises(DeclarationError, match="a Crash before or after it happens, got 'during'"):
        Crash("during")  # type: ignore[arg-type]
