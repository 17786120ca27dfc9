"""The README's example runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3

import afterwrite
from bounds import BOUND_S
from engine_process import EngineUnderTest, wait_until

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def block(language: str, number: int = 0) -> str:
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return blocks[number]


def test_what_is_declared_happens(tmp_path: Path) -> None:
    app = tmp_path / "shop.py"
    app.write_text(block("python").replace("buffer_seconds=60", "buffer_seconds=0.1"))
    with EngineUnderTest(app, tmp_path / "data") as engine:
        names: dict[str, Any] = {}
        exec(block("python", 1).replace("http://127.0.0.1:4566", engine.url), {"boto3": boto3}, names)
        key = {"PK": "order-1", "SK": "META"}
        status = {"ExpressionAttributeNames": {"#status": "status"}}
        names["orders"].update_item(
            Key=key, UpdateExpression="SET #status = :to", ExpressionAttributeValues={":to": "paid"}, **status
        )
        names["orders"].update_item(Key=key, UpdateExpression="REMOVE #status", **status)
        names["orders"].delete_item(Key=key)
        names["orders"].meta.client.close()

        with afterwrite.open_data(engine.data) as reader:
            wait_until(reader.idle)
            assert list(reader.parked("shop-orders")) == []
            assert [event["detail"]["status"] for event in reader.archived_events("shop-events")] == ["paid", None]
            assert reader.verify_audit("shop-audit").entries == 4
        assert len(list((engine.data / "files" / "outbox").glob("*.txt"))) == 1
        (query,) = re.findall(r'^\$ afterwrite query "(.*)"$', README, re.MULTILINE)
        with afterwrite.open_data(engine.data) as reader, reader.lake_queries() as queries:
            rows = list(queries.run(query).rows)
        assert dict(rows) == {"INSERT": 1, "MODIFY": 2, "REMOVE": 1}
        in_tree = set(re.findall(r"^[├└]── ([^/\s]+)", README, re.MULTILINE))
        assert in_tree == {path.name for path in engine.data.iterdir()}


def test_the_engine_says_what_it_will_do(tmp_path: Path) -> None:
    app = tmp_path / "shop.py"
    app.write_text(block("python"))
    command = [sys.executable, "-m", "afterwrite", "run", str(app), "--data", str(tmp_path / "data")]
    with subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == block("console").splitlines(keepends=True)[1]
        process.terminate()
        assert process.wait(timeout=BOUND_S) == 0
