"""The cases that are data: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "cases"


def load(name: str) -> list[dict[str, Any]]:
    """The cases of `cases/<name>.jsonl`."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
