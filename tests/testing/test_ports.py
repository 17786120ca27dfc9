"""Ports on which engines come back."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from afterwrite.testing import ports


def test_a_lasting_port_is_free_and_no_connection_s_own() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(20):
        port = ports.lasting_port()
        assert 0 < port < lowest
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_where_every_port_may_be_a_connection_s_own_any_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_RANGE", everything)
    assert ports.lasting_port() > 1024


def test_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", ports.lasting_port())) as taken:
        free = ports.lasting_port()
        offered = iter([taken.getsockname()[1], free])
        monkeypatch.setattr("random.randrange", lambda *_: next(offered))
        assert ports.lasting_port() == free
