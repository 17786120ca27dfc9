"""Ports for engines that are killed and started again where they were."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000
_ATTEMPTS: Final = 100


def lasting_port() -> int:
    """A free port of the loopback that stays free while nobody listens on it, as far as there are such ports.

    The system takes the ports of connections' own ends from a range, and a port in it can be gone before the engine
    is back: even a client that tries to reach it can be given it.
    """
    try:
        taken_from = int(_RANGE.read_text().split()[0])
    except OSError:
        taken_from = 32_768
    for _ in range(_ATTEMPTS if taken_from > _LOWEST else 0):
        port = _bound(random.randrange(_LOWEST, taken_from))  # noqa: S311 - no secret
        if port is not None:
            return port
    any_port = _bound(0)
    if any_port is None:
        raise OSError("expected a free port of 127.0.0.1, found none")
    return any_port


def _bound(port: int) -> int | None:
    """The port that can be listened on where `port` is asked for, None where it is taken."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return None
        found: int = tried.getsockname()[1]
        return found
