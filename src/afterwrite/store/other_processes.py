"""The store in an engine's other processes, which read the file themselves and have the first one write.

    another to the first    an operation for the next commit, or a request in DynamoDB's words
    the first to another    once a commit: its answers, the signals it watches, the catalog where it needs that

All are processes of one engine, forked from the first, so what goes between them are Python's own values. An operation
is a function that all have, with the values it is for.

What is large goes through memory that both share. A socket's buffer holds a tenth of a large step, and the first
process reads it between two commits: the step took ten of them to arrive, and everything else waited behind it.
"""

from __future__ import annotations

import logging
import pickle
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import orjson

from afterwrite.core.failures import reason_of
from afterwrite.core.json_text import text_as_it_is
from afterwrite.errors import StorageError
from afterwrite.store import tables
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.plain_writes import PlainWrites
from afterwrite.store.prepared import Write
from afterwrite.store.ring_buffer import Piece, RingBuffer
from afterwrite.store.settling import Settling
from afterwrite.store.tables import Catalog

T = TypeVar("T")

_LOG = logging.getLogger("afterwrite")
_LENGTH: Final = struct.Struct(">I")
# Room for what is read is made anew each time, and given back.
_READ_BYTES: Final = 1 << 16
# What is shorter fits into the socket's buffer.
_SHARED_FROM_BYTES: Final = 1 << 16
_SHARED_BYTES: Final = 16 << 20

OnDone: TypeAlias = Callable[[Any, BaseException | None], None]


class Operation(NamedTuple):
    """To be run in the next commit, which is not before `now_us`."""

    number: int
    now_us: int
    run: Callable[[WriteTransaction], Any]


class Request(NamedTuple):
    """To be carried out by DynamoDB's rules: an operation's wire name and its body, as JSON text where it can be.

    Of a body that holds what is no JSON the first process says so.
    """

    number: int
    now_us: int
    name: str
    body: bytes | dict[str, Any]


class Raised(NamedTuple):
    """An error on its way: its parts, as not every class can be called with its arguments alone."""

    kind: type[BaseException]
    arguments: tuple[Any, ...]
    fields: dict[str, Any]


class Begun(NamedTuple):
    """A process runs what it is for, or why it does not; from now on it needs to hear of these things only."""

    failure: Raised | None
    signals: frozenset[str]
    catalog: bool


class Committed(NamedTuple):
    """What a commit has brought: answers by their requests' numbers, names of signals, the catalog if it changed."""

    now_us: int
    answers: list[tuple[int, Any, Raised | None]]
    signals: set[str]
    catalog: Catalog | None


class Stop(NamedTuple):
    """A process is to end what it does, and itself."""


class Shared:
    """Memory that the first process and another have: what is sent to the first and is large.

    And which commit is settling, which all processes have. To be made before the fork.
    """

    def __init__(self, settling: Settling) -> None:
        self.settling = settling
        self.sent = RingBuffer(_SHARED_BYTES)


def frame(content: Any) -> bytes:
    """What is sent for `content`. Raises what pickle raises for what cannot be sent."""
    return _framed(_pickled(content))


def _pickled(content: Any) -> bytes:
    return pickle.dumps(content, pickle.HIGHEST_PROTOCOL)


def _framed(pickled: bytes) -> bytes:
    return _LENGTH.pack(len(pickled)) + pickled


class Frames:
    """Puts frames together from the parts in which they arrive; what is in the memory `sent` comes in its turn."""

    def __init__(self, sent: RingBuffer | None = None) -> None:
        self._waiting = bytearray()
        self._sent = sent

    def take(self, part: bytes) -> Iterator[Any]:
        """The contents of the frames that are complete."""
        waiting = self._waiting
        waiting += part
        at = 0
        while len(waiting) >= at + _LENGTH.size:
            end = at + _LENGTH.size + _LENGTH.unpack_from(waiting, at)[0]
            if len(waiting) < end:
                break
            with memoryview(waiting)[at + _LENGTH.size : end] as pickled:
                content = pickle.loads(pickled)  # noqa: S301 - from ourselves, forked
            yield self._from_memory(content) if type(content) is Piece else content
            at = end
        del waiting[:at]

    def _from_memory(self, piece: Piece) -> Any:
        if self._sent is None:
            raise ValueError("expected frames alone, a piece of shared memory was told of: nobody writes one here")
        with self._sent.read(piece) as pickled:
            return pickle.loads(pickled)  # noqa: S301 - as above


def raised(error: BaseException) -> Raised:
    """An error as it is sent."""
    sent = Raised(type(error), error.args, dict(vars(error)))
    try:
        pickle.dumps(sent)
    except Exception:  # noqa: BLE001 - a class or a field of somebody else's
        return Raised(RuntimeError, (reason_of(error),), {})
    return sent


def as_error(sent: Raised) -> BaseException:
    """The error that was sent."""
    if sent.kind.__module__ == "builtins":  # whose words are not in `vars`; classes of others may take other arguments
        error = sent.kind(*sent.arguments)
    else:
        error = sent.kind.__new__(sent.kind, *sent.arguments)
    vars(error).update(sent.fields)
    return error


class FirstProcess:
    """Writes for another process. `send` is given frames on the thread of the store's writer.

    `prepare` makes the write of a request that Python reads; it raises ServiceError.
    """

    def __init__(
        self, environment: Environment, prepare: Callable[[str, dict[str, Any]], Any], send: Callable[[bytes], None]
    ) -> None:
        self._environment = environment
        self._prepare = prepare
        self._plain_writes = PlainWrites(environment)
        self._send = send
        self._answers: list[tuple[int, Any, Raised | None]] = []
        self._signals: set[str] = set()
        self._watched: frozenset[str] | None = None
        self._catalog: Catalog | None = environment.state["catalog"]
        environment.signals.forward(self._hear)
        environment.after_commit(self._tell)

    def tell_only(self, signals: frozenset[str], *, catalog: bool) -> None:
        """Tell the process of these signals only, and of the `catalog` or not.

        Until then it is told of everything. What no loop of it waits for must not wake it at each commit.
        """
        self._watched = signals
        if not catalog:
            self._catalog = None

    def take(self, asked: Operation | Request) -> None:
        """Do what is asked for, in the next commit."""
        on_done = partial(self._answer, asked.number)
        self._environment.catch_up(asked.now_us)
        try:
            run = asked.run if isinstance(asked, Operation) else self._write(asked.name, asked.body).run
            self._environment.submit(run, on_done)
        except Exception as error:  # noqa: BLE001 - whatever it is, the process that asked must hear of it
            on_done(None, error)
            self._tell()

    def _write(self, name: str, body: bytes | dict[str, Any]) -> Write:
        plain = self._plain_writes.prepare(name, body, self._prepare) if isinstance(body, bytes) else None
        if plain is not None:
            return plain
        parsed: dict[str, Any] = orjson.loads(body) if isinstance(body, bytes) else body
        write: Write = self._prepare(name, parsed)
        self._plain_writes.learn(name, parsed)
        return write

    def _answer(self, number: int, result: Any, error: BaseException | None) -> None:
        self._answers.append((number, result, None if error is None else raised(error)))

    def _hear(self, names: Iterable[str]) -> None:
        self._signals.update(names if self._watched is None else self._watched.intersection(names))

    def _tell(self) -> None:
        changed: Catalog | None = None
        if self._catalog is not None and self._catalog is not self._environment.state["catalog"]:
            changed = self._catalog = self._environment.state["catalog"]
        if not self._answers and not self._signals and changed is None:
            return
        told = frame(Committed(self._environment.now_us(), self._answers, self._signals, changed))
        self._answers.clear()
        self._signals.clear()
        self._send(told)


class EnvironmentElsewhere(Environment):
    """The store as another process has it: it reads the file, the first one writes.

    In `shared` the first one says what is not to be seen yet. Forks of the process can read, and are refused to write.
    """

    def __init__(self, directory: Path, connection: socket.socket, shared: Shared) -> None:
        super().__init__(directory, readonly=True)
        self._settling = shared.settling
        self._sent = shared.sent
        self._connection = connection
        self._sending = threading.Lock()
        self._numbers = count(1)
        self._waiting_for: dict[int, OnDone] = {}
        with self.read() as transaction:
            self.state["catalog"] = tables.load_catalog(transaction)

    def begin(self, on_stop: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Hear what the first process sends, in a thread.

        `on_stop` is called when it wants this one to end, `on_lost` when it is there or understood no more.
        """
        threading.Thread(target=self._hear, args=(on_stop, on_lost), name="store", daemon=True).start()

    def submit(
        self,
        operation: Callable[[WriteTransaction], T],
        on_done: Callable[[T | None, BaseException | None], None],
        *,
        requests: int = 1,  # noqa: ARG002 - those that come by the network are all the first process's
    ) -> None:
        """Run `operation` in the next commit of the first process; then `on_done(result, error)` is called.

        Raises what pickle raises where the operation cannot be sent.
        """
        self._ask(on_done, lambda number: Operation(number, self.now_us(), operation))

    def carry_out(self, name: str, body: dict[str, Any]) -> Mapping[str, Any] | None:
        """Carry out a request that writes. Raises ServiceError and StorageError."""
        sent = text_as_it_is(body) or body
        answer: Mapping[str, Any] | None = self._wait(
            lambda on_done: self._ask(on_done, lambda number: Request(number, self.now_us(), name, sent))
        )
        return answer

    def tell(self, content: Begun) -> None:
        """Tell the first process."""
        with self._sending:
            self._connection.sendall(frame(content))

    def _ask(self, on_done: OnDone, asked: Callable[[int], Operation | Request]) -> None:
        self._refuse_in_fork()  # it would write over what is on its way
        number = next(self._numbers)
        pickled = _pickled(asked(number))
        self._waiting_for[number] = on_done
        try:
            with self._sending:
                piece = self._sent.write(pickled) if len(pickled) >= _SHARED_FROM_BYTES else None
                self._connection.sendall(_framed(pickled) if piece is None else frame(piece))
        except OSError as error:
            del self._waiting_for[number]
            raise StorageError(f"the engine's first process cannot be reached ({error}): start it again") from error

    def _hear(self, on_stop: Callable[[], None], on_lost: Callable[[], None]) -> None:
        frames = Frames()
        try:
            while piece := self._connection.recv(_READ_BYTES):
                for told in frames.take(piece):
                    if isinstance(told, Stop):
                        on_stop()
                    else:
                        self._take(told)
        except OSError:
            pass
        except Exception:  # noqa: BLE001 - who waits for an answer would wait for ever
            _LOG.exception("what the engine's first process says is not understood")
        on_lost()

    def _take(self, committed: Committed) -> None:
        self.catch_up(committed.now_us)
        if committed.catalog is not None:
            self.state = {**self.state, "catalog": committed.catalog}
        for number, result, error in committed.answers:
            self._waiting_for.pop(number)(result, None if error is None else as_error(error))
        self.signals.notify(committed.signals)
