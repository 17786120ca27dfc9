"""Threads that run users' functions, of which there may be thousands.

A thread that wants the interpreter while another has it asks for it after a turn, Python's switch interval, and again
after each turn until it has it. With thousands that wait, their asking takes all of a core, and nobody gets on, neither
requests nor who stops the engine. So the more threads there are, the longer a turn is.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Final

# So all of them together ask a hundred thousand times a second at most. 200 threads have turns of 2 ms.
_TURN_S_A_THREAD: Final = 0.00001


def start_thread(run: Callable[[], None], name: str) -> None:
    """Start a thread that ends with the process, and let turns be long enough for as many as there are then."""
    threading.Thread(target=run, name=name, daemon=True).start()
    turn_s = threading.active_count() * _TURN_S_A_THREAD
    if turn_s > sys.getswitchinterval():
        sys.setswitchinterval(turn_s)
