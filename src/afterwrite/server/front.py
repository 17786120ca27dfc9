"""The front of the HTTP server: plain requests are read, and answers sent, by a thread in C.

That thread never takes Python's lock, so sockets are read and written while Python works. It knows the one form of
request that AWS's SDKs send; a connection that sends anything else is handed over, with what was read of it.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import socket
from collections.abc import Callable, Collection, Iterable
from functools import partial
from struct import Struct
from typing import Final, TypeAlias

from afterwrite.errors import StorageError
from afterwrite.server.http_messages import (
    INTERNAL_ERROR,
    Handler,
    Renderer,
    Request,
    Respond,
    Response,
    UnreadHeaders,
    refused,
)

_LOG = logging.getLogger("afterwrite")

THREAD_NAME: Final = "front"

# `struct request` of front.h, `struct answer` of front.c, `struct asked` of taken_writes.c.
_REQUEST: Final = Struct("@IIIIIIQ")
_ANSWER: Final = Struct("@IIHHI")
_ASKED: Final = Struct("@III")
_KEEP_ALIVE: Final = 1
_HANDED_OVER: Final = 2
_KEEP_ALIVE_LINE: Final = b"Connection: keep-alive\r\n"
_CLOSE_LINE: Final = b"Connection: close\r\n"
_HEAD_BYTES_MAX: Final = 8192
_PARTIAL_S_MAX: Final = 5.0
_POLL_S: Final = 0.005
# How often the thread looks which connections' time is up.
_SWEEP_MS = 500
# As many as are there, unless somebody asks for fewer.
_TAKEN_MAX: Final = 0xFFFFFFFF


class Alike:
    """Requests of which each is answered the same; `asked` says where the answers go, as `struct asked`."""

    __slots__ = ("_asked", "_front")

    def __init__(self, front: Front, asked: bytes) -> None:
        self._front = front
        self._asked = asked

    def respond(self, response: Response) -> None:
        """Answer them all. The body is too small for gzip."""
        self._front.answer_alike(self._asked, response)

    def split(self, numbers: Collection[int]) -> tuple[Alike, list[Respond]]:
        """Those whose numbers are not among `numbers`, and what answers each of the others on its own."""
        apart = frozenset(numbers)
        asked = [self._asked[at : at + _ASKED.size] for at in range(0, len(self._asked), _ASKED.size)]
        alike = b"".join(each for number, each in enumerate(asked) if number not in apart)
        return Alike(self._front, alike), [partial(self._front.answer_alike, asked[number]) for number in numbers]


# Takes what it answers alike out of requests, so many bytes at an address, and says how many bytes are left there; is
# given what makes `Alike` of what was taken.
TakeTogether: TypeAlias = Callable[[int, int, Callable[[bytes], Alike]], int]


class Front:
    """Serves the connections of `listener`, on the running loop's behalf; `listener` is its own from now on.

    `handler` and `hand_over` (a socket, and what was read from it) are called on the loop's thread, and so is
    `take_together`, which takes of the requests that have come those that it answers alike. Raises OSError.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        listener: socket.socket,
        handler: Handler,
        hand_over: Callable[[socket.socket, bytes], None],
        renderer: Renderer,
        *,
        take_together: TakeTogether | None = None,
        header_bytes_max: int,
        body_bytes_max: int,
        idle_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        self._library = library
        self._handler = handler
        self._take_together = take_together
        self._hand_over = hand_over
        self._renderer = renderer
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._answers: list[bytes] = []
        self._flushes = False
        self._taken_bytes = ctypes.c_size_t()
        self._taken_max = _TAKEN_MAX
        self._ready = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._front = library.front_open(
            listener.detach(),
            self._ready,
            min(header_bytes_max, _HEAD_BYTES_MAX),
            body_bytes_max,
            int(idle_timeout_s * 1000),
            int(read_timeout_s * 1000),
            int(min(read_timeout_s, _PARTIAL_S_MAX) * 1000),
            _SWEEP_MS,
        )
        if self._front is None:
            os.close(self._ready)
            raise OSError("expected room for another thread and two descriptors, the system refused")
        self._loop.add_reader(self._ready, self._take)

    @property
    def connection_count(self) -> int:
        """How many connections it has."""
        return 0 if self._front is None else int(self._library.front_open_count(self._front))

    @property
    def asked_count(self) -> int:
        """How many requests have come that were not answered."""
        return 0 if self._front is None else int(self._library.front_asked_count(self._front))

    def take_at_most(self, count: int | None) -> None:
        """Take no more than `count` requests in a round of the loop; all that have come where it is None."""
        self._taken_max = _TAKEN_MAX if count is None else count

    def take_arrived(self) -> None:
        """Take the requests that have come, and send the answers that were given for them."""
        self._take()
        self.flush()

    def flush(self) -> None:
        """Send the answers that were given; those of a round of the loop are sent at its end at the latest."""
        if not self._answers:
            return
        packed = b"".join(self._answers)
        self._answers.clear()
        if self._front is not None and not self._library.front_answer(self._front, packed, len(packed)):
            raise StorageError("no memory for answers")

    async def stop(self, timeout_s: float) -> None:
        """Take no connection more, answer the requests that have arrived; after `timeout_s` without waiting."""
        self._stopping = True
        self._library.front_stop(self._front)
        deadline = self._loop.time() + timeout_s
        while self.connection_count and self._loop.time() < deadline:
            await asyncio.sleep(_POLL_S)
        self._loop.remove_reader(self._ready)
        self._library.front_close(self._front)
        self._front = None
        os.close(self._ready)

    def answer(self, turn: _Turn, response: Response) -> None:
        """Send the answer to a request, with those that are given in the same round of the loop."""
        is_large = len(response.body) >= Renderer.compressed_bytes_min
        accept_encoding = turn.request.headers.get(b"accept-encoding", b"") if is_large else b""
        connection_header = self._connection_header(turn.flags)
        payload = self._renderer.render(response, connection_header=connection_header, accept_encoding=accept_encoding)
        self._send((self._packed(turn.slot, turn.generation, payload), payload))

    def answer_alike(self, asked: bytes, response: Response) -> None:
        """Send the same answer, too small to be compressed, to each of the requests in `asked`."""
        headers = [self._connection_header(flags) for flags in (0, _KEEP_ALIVE)]
        places = list(_ASKED.iter_unpack(asked))
        payloads = self._renderer.render_alike(response, (headers[flags & _KEEP_ALIVE] for _, _, flags in places))
        pieces: list[bytes] = []
        for (slot, generation, _), payload in zip(places, payloads, strict=True):
            pieces += self._packed(slot, generation, payload), payload
        self._send(pieces)

    def _connection_header(self, flags: int) -> bytes:
        keep_alive = _KEEP_ALIVE_LINE if flags & _KEEP_ALIVE else b""
        return _CLOSE_LINE if self._stopping else keep_alive

    def _packed(self, slot: int, generation: int, payload: bytes) -> bytes:
        return _ANSWER.pack(slot, generation, self._stopping, 0, len(payload))

    def _send(self, pieces: Iterable[bytes]) -> None:
        if self._front is None:
            return
        self._answers += pieces
        if not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._end_round)

    def _end_round(self) -> None:
        self._flushes = False
        self.flush()

    def _take(self) -> None:
        try:
            os.eventfd_read(self._ready)
        except BlockingIOError:
            return
        pointer = self._library.front_take(self._front, self._taken_max, ctypes.byref(self._taken_bytes))
        size = self._taken_bytes.value
        if size and self._take_together is not None:
            size = self._take_together(pointer, size, self._alike)
        if not size:
            return
        taken = ctypes.string_at(pointer, size)
        at = 0
        while at < size:
            slot, generation, flags, target_at, target_bytes, head_bytes, body_bytes = _REQUEST.unpack_from(taken, at)
            at += _REQUEST.size
            end = at + head_bytes + body_bytes
            if flags & _HANDED_OVER:
                self._hand_over(socket.socket(fileno=target_bytes), taken[at:end])
            else:
                body = taken[end - body_bytes : end]
                target = taken[at + target_at : at + target_at + target_bytes]
                request = Request(b"POST", b"/", UnreadHeaders(taken[at : at + head_bytes], target), body, body)
                self._handle(_Turn(self, slot, generation, flags, request))
            at = -(-end // 8) * 8

    def _alike(self, asked: bytes) -> Alike:
        return Alike(self, asked)

    def _handle(self, turn: _Turn) -> None:
        try:
            self._handler(turn.request, turn.respond)
        except Exception:  # noqa: BLE001 - whatever it is, the client must hear of it
            _LOG.exception("the handler of a request failed; it is answered as InternalServerError")
            if not turn.is_answered:
                turn.respond(refused(INTERNAL_ERROR))


class _Turn:
    """One request, and where its answer goes."""

    __slots__ = ("_front", "flags", "generation", "is_answered", "request", "slot")

    def __init__(self, front: Front, slot: int, generation: int, flags: int, request: Request) -> None:
        self._front = front
        self.slot = slot
        self.generation = generation
        self.flags = flags
        self.request = request
        self.is_answered = False

    def respond(self, response: Response) -> None:
        if self.is_answered:
            raise RuntimeError("expected one answer to a request, a second came: call respond once")
        self.is_answered = True
        self._front.answer(self, response)
