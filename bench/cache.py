"""Where the bench keeps what it fetches, and the data directories of a run: on the checkout's disk, never committed."""

from __future__ import annotations

from pathlib import Path

CACHE = Path(__file__).resolve().parent / ".cache"
