"""Load by wrk, which costs a fraction of any engine here; by this project's own generator where wrk is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import Load, in_own_process, send
from bench.templates import PARTITIONS, STORED, STRIDE, filled
from bench.wire import System

SCRIPT = Path(__file__).resolve().parent / "wrk.lua"
ANSWER_S_MAX = 60


@dataclass(frozen=True)
class Driven:
    """What came of a run: the answers 200 while it ran, all others, and what each took (0 where it is not known)."""

    answers: int
    seconds: float
    faults: list[str]
    p50_ms: float = 0.0
    p99_ms: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers 200 a second."""
        return self.answers / self.seconds


def generator() -> str:
    """What makes the load here."""
    return "wrk" if shutil.which("wrk") else "bench/load.py (wrk is not installed, and is faster)"


def drive(system: System, templates: Sequence[bytes], *, connections: int, seconds: int) -> Driven:
    """Send requests from templates for a time, one under way on each connection. Raises RuntimeError."""
    if shutil.which("wrk") is None:
        return _of_load(in_own_process(_send, system, templates, connections, float(seconds)))
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "templates"
        file.write_bytes(b"\0".join(templates))
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={ANSWER_S_MAX}s", "-s", str(SCRIPT)]
        numbers = [str(number) for number in (PARTITIONS, STORED, STRIDE)]
        command = ["wrk", *options, system.url, "--", str(file), *numbers]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    line = ended.stdout.strip().rpartition("\n")[2]
    if ended.returncode != 0 or not line.startswith("{"):
        raise RuntimeError(f"wrk ended with {ended.returncode}: {ended.stdout[-300:]} {ended.stderr[-300:]}")
    counts = json.loads(line)
    faults = [f"{counts[name]} {what}" for name, what in _FAULTS.items() if counts[name]]
    answers = counts["answers"] - counts["refused"]
    return Driven(answers, counts["seconds"], faults, counts["p50_ms"], counts["p99_ms"])


_FAULTS = {
    "refused": "answers other than 200",
    "broken": "connections broken",
    "late": f"answers later than {ANSWER_S_MAX} s",
}


def _send(system: System, templates: Sequence[bytes], connections: int, seconds: float) -> Load:
    requests = filled(templates)
    return send(system, (requests for _ in range(connections)), connections=connections, seconds=seconds, body=None)


def _of_load(load: Load) -> Driven:
    return Driven(load.in_time, load.seconds, load.faults())
