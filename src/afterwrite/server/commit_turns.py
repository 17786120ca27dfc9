"""When the loop that serves requests commits those that wait."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from afterwrite.server.http import HttpServer

# Of fewer requests a commit's fixed cost, which two halves pay twice, is more than is gained.
_HALVED_FROM: Final = 24


def together(asked: int) -> int:
    """How many of `asked` requests, all that are under way, are committed together: of many a half.

    While one half is committed, the clients of the other read their answers and ask again. With all in one commit,
    clients and writer would take turns, and each would wait for the other.
    """
    return asked if asked < _HALVED_FROM else (asked + 1) // 2


class CommitTurns:
    """Runs `commit` on the server's loop once the requests that keep arriving have arrived.

    `waiting` says how many wait for it. As many as are committed together are waited for, and no more. Where `commit`
    says that it has woken others, these have their turn once its answers are sent.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        server: HttpServer,
        commit: Callable[[], bool],
        waiting: Callable[[], int],
    ) -> None:
        self._loop = loop
        self._server = server
        self._commit = commit
        self._waiting = waiting
        self._enough = 1

    def gather(self, seen: int = 0) -> None:
        """Commit what waits, or look again in the loop's next round, where more has come than was `seen`."""
        now = self._waiting()
        if seen < now < self._enough:
            self._loop.call_soon(self.gather, now)
            return
        wakes_others = self._commit()
        asked = self._server.asked_count
        self._enough = together(asked)
        self._server.take_at_most(self._enough if self._enough < asked else None)
        self._server.flush()
        if wakes_others:
            self._loop.call_soon(os.sched_yield)
