"""What the server's thread sends to another process, which may have gone."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from afterwrite.config import Settings
from afterwrite.wiring.server_thread import ServerThread
from bounds import BOUND_S


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerThread]:
    thread = ServerThread(Settings(tmp_path))
    yield thread
    thread.stop()


def on_its_thread(server: ServerThread, action: Callable[[], None]) -> None:
    done = threading.Event()

    def run() -> None:
        action()
        done.set()

    server.run_soon(run)
    assert done.wait(BOUND_S)


def test_what_is_sent_to_a_process_that_has_gone_is_let_go(
    server: ServerThread, caplog: pytest.LogCaptureFixture
) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    lost = threading.Event()
    send = server.adopt(near, lambda _send: lambda _piece: None, lost.set)
    send(b"there")
    assert far.recv(5) == b"there"
    far.close()
    assert lost.wait(BOUND_S)
    on_its_thread(server, lambda: send(b"gone"))
    send(b"gone")
    on_its_thread(server, lambda: None)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
