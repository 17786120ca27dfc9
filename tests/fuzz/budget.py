"""How long the fuzz tests look, and from which seed.

`AFTERWRITE_FUZZ_S` is the time for all of them together (`make fuzz`: 520); without it they take a few seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from random import Random

FUZZ_S = float(os.environ.get("AFTERWRITE_FUZZ_S", "8"))
# The same cases each time, unless told: a suite that fails should fail again.
SEED = int(os.environ.get("AFTERWRITE_FUZZ_SEED", "20240601"))
TIMEOUT_S = 600 + 2 * FUZZ_S


def sources(share: float, *, caller: int = 0) -> Iterator[tuple[str, Random]]:
    """Sources of randomness, each with its name, until `share` of the time is over; others for each `caller`."""
    deadline = time.monotonic() + share * FUZZ_S
    number = 0
    while time.monotonic() < deadline:
        name = f"{SEED}-{caller}-{number}"
        yield name, Random(name)
        number += 1
