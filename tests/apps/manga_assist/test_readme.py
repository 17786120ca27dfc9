"""The writer in the README works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from afterwrite.wiring import Engine
from manga_assist import app

README = Path(app.__file__).with_name("README.md")


def test_the_writer_writes(engine: Engine, sessions_table: Any, capsys: Any) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    host, port = engine.address
    names: dict[str, Any] = {}
    exec(text.replace("127.0.0.1:4566", f"{host}:{port}"), names)
    names["dynamodb"].close()
    assert capsys.readouterr().out == "1\n"
    kinds = sorted(item["SK"].partition("#")[0] for item in sessions_table.query("SESSION#s1"))
    assert kinds == ["HANDOFF", "META", "TURN"]
