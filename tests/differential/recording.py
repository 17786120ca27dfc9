"""Runs and their answers as a file: one JSON line a request, its answer as DynamoDB Local gave it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from differential.systems import Answer

FILE: Final = Path(__file__).parent / "recorded.jsonl.gz"

Case: TypeAlias = tuple[str, Mapping[str, Any], Answer]


def save(runs: Iterable[Iterable[Case]]) -> None:
    """Write the runs; a line that is `null` starts each."""
    lines: list[str] = []
    for run in runs:
        lines.append("null")
        lines += (json.dumps(case, separators=(",", ":"), sort_keys=True) for case in run)
    # The same runs make the same file.
    FILE.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def load() -> list[list[Case]]:
    """The recorded runs."""
    runs: list[list[Case]] = []
    for line in gzip.decompress(FILE.read_bytes()).decode().splitlines():
        case = json.loads(line)
        if case is None:
            runs.append([])
        else:
            runs[-1].append((case[0], case[1], case[2]))
    return runs
