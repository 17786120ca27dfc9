from __future__ import annotations

import json
import re

from cli.conftest import Run
from engine_process import EngineProcess


def test_payload_reason_and_receives_are_listed(written: EngineProcess, cli: Run) -> None:
    done = cli("dead-letters", "--data", written.data, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (letter,) = map(json.loads, done.stdout.splitlines())
    assert letter["payload"] == {"key": "bad\x1b[1m", "card": "4111"}
    assert re.fullmatch(r"ValueError: no \x1b\[31mluck \(at watched_app\.py:\d+\)", letter["reason"])
    assert (letter["queue"], letter["function"], letter["receive_count"]) == ("function-fail", "fail", 2)
    assert letter["id"].endswith("/bad/0")


def test_one_queue_as_text(written: EngineProcess, cli: Run) -> None:
    done = cli("dead-letters", "function-fail", "--data", written.data)
    assert "received  2 times" in done.stdout
    assert '"card":"4111"' in done.stdout
    assert "\x1b" not in done.stdout
    assert cli("dead-letters", "outside", "--data", written.data).stdout == "no dead letters\n"


def test_a_queue_that_is_not_there(written: EngineProcess, cli: Run) -> None:
    done = cli("dead-letters", "nope", "--data", written.data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: expected a queue of this engine (outside, letters, ")
