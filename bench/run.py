"""Figures beside the peers': `python bench/run.py FIGURE|all [--seconds N] [--json]`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

# Guarded, because the load generators' processes import this file again.
if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(root), str(root / "apps")]
    runpy.run_module("bench.command", run_name="__main__")
