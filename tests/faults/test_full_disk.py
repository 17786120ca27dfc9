"""A disk that fills up under a running engine: writes fail with a clear error, and it serves on when space returns."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from bounds import BOUND_S
from engine_process import EngineUnderTest, wait_until
from faults.reconciliation import APP, check, settled
from server.clients import dynamodb_client


def test_writes_fail_clearly_and_the_engine_serves_on_when_space_returns(tmp_path: Path) -> None:
    data = tmp_path / "data"
    kept: list[str] = []
    refused: list[str] = []
    with EngineUnderTest(APP, data) as engine:
        client = dynamodb_client(engine.url)

        def put(sk: str) -> None:
            item: Any = {"pk": {"S": f"p{len(sk) % 3}"}, "sk": {"S": sk}, "text": {"S": "x" * 8_000}}
            client.put_item(TableName="things", Item=item)
            kept.append(sk)

        for number in range(20):
            put(f"before-{number:03}")
        # Beyond the journal's files, which have their room beforehand on a disk that gets full.
        size = max((data / "store" / "data.mdb").stat().st_size, 4 << 20)
        _, hard = resource.prlimit(engine.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (size + 300_000, hard))
        for number in range(400):
            try:
                put(f"full-{number:03}")
            except ClientError as error:
                assert error.response["Error"]["Code"] == "InternalServerError"
                assert "no space left" in error.response["Error"]["Message"]
                refused.append(f"full-{number:03}")
                if len(refused) >= 5:
                    break
        assert len(refused) >= 5
        # What is there can still be read.
        assert client.get_item(TableName="things", Key={"pk": {"S": f"p{10 % 3}"}, "sk": {"S": kept[0]}})["Item"]
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (hard, hard))
        for number in range(20):
            put(f"after-{number:03}")
        settled(data)
        assert engine.stop() == 0
    changes = check(data)
    assert [change.keys["sk"] for change in changes] == kept
    assert not set(refused) & set(kept)


def test_a_disk_without_any_room_is_no_fault_of_the_store(tmp_path: Path) -> None:
    with EngineUnderTest(APP, tmp_path / "data") as engine:
        engine.put("things", pk="p", sk="1")
        settled(tmp_path / "data")
        _, hard = resource.prlimit(engine.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (1, hard))
        status, answer = put_q(engine)
        assert (status, "no space left" in answer["message"]) == (500, True)
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (hard, hard))
        wait_until(lambda: put_q(engine)[0] == 200, what="the engine's recovery")
        settled(tmp_path / "data")
    assert [change.keys["pk"] for change in check(tmp_path / "data")] == ["p", "q"]


def put_q(engine: EngineUnderTest) -> tuple[int, dict[str, Any]]:
    return engine.exchange("PutItem", {"TableName": "things", "Item": {"pk": {"S": "q"}, "sk": {"S": "1"}}})


def test_an_engine_that_finds_no_space_at_its_start_says_so(tmp_path: Path) -> None:
    with EngineUnderTest(APP, tmp_path / "data") as engine:
        engine.put("things", pk="p", sk="1")
        settled(tmp_path / "data")
    command = ["run", str(APP), "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)); from afterwrite.cli import main; main()"
    )
    started = subprocess.run(
        [sys.executable, "-B", "-c", limited, *command], capture_output=True, text=True, timeout=BOUND_S, check=False
    )
    assert started.returncode == 2
    assert "no space left" in started.stderr
    assert "Traceback" not in started.stderr
