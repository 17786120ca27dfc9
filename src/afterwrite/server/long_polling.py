"""Long polling: requests that wait until a queue has something for them, or their time is up.

One thread waits for all of them. Those that wait for one queue stand in a line, and the first one is tried when a
commit has made something receivable, or its time has come; when it gets something the next one is tried, as there may
be more. So a message wakes as many requests as it can answer, and an empty queue costs nothing. Each line knows when
it is to be looked at next, so those that wait for other queues cost little, however many they are.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from afterwrite.store import queues
from afterwrite.store.environment import Environment
from afterwrite.store.prepared import Poll

# What seems to be receivable and is not (another one of the line's queue holds it) is asked for again after this.
_AGAIN_S: Final = 0.1
_NEVER_S: Final = float("inf")

Answer: TypeAlias = Callable[[Mapping[str, Any] | None, BaseException | None], None]


@dataclass(eq=False, slots=True)
class _Waiting:
    poll: Poll
    answer: Answer
    deadline_s: float


@dataclass(eq=False, slots=True)
class _Line:
    """The requests that wait for one queue; `due_s` is when to try the first one, unless a commit says so before.

    `look_s` is when to look at the line, for whatever reason. To be planned anew after each change.
    """

    queue: str
    waiting: deque[_Waiting] = field(default_factory=deque)
    due_s: float = 0.0
    trying: bool = False
    called: bool = False
    look_s: float = _NEVER_S

    def plan(self) -> None:
        if self.trying or not self.waiting:
            self.look_s = _NEVER_S
        elif self.called:
            self.look_s = 0.0
        else:
            self.look_s = min(self.due_s, *(each.deadline_s for each in self.waiting))

    def call(self) -> None:
        """Have the first one tried."""
        self.called = True
        self.plan()


class _Wake(threading.Event):
    """What the store's signals set: it calls the line at once."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake

    def set(self) -> None:
        self._wake()


class LongPolls:
    """The requests that wait. `answer` of each is called once, on whatever thread has the answer."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._changed = threading.Condition()
        self._lines: dict[str, _Line] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, poll: Poll, tried: Answer, waited: Answer) -> None:
        """Try a request in the next commit, and let it wait where that finds nothing.

        Either `tried` is called with what the commit found, or `waited` later, which no commit need follow.
        """

        def on_tried(found: Mapping[str, Any] | None, error: BaseException | None) -> None:
            if found is None and error is None and poll.wait_s > 0:
                self.add(poll, waited)
            else:
                tried(poll.otherwise if found is None else found, error)

        self._environment.submit(poll.run, on_tried)

    def add(self, poll: Poll, answer: Answer) -> None:
        """Let a request wait that has found nothing so far. Where the system gives no thread to wait, it does not."""
        with self._changed:
            if not self._closed and self._has_thread():
                line = self._lines.get(poll.queue) or self._new_line(poll.queue)
                line.waiting.append(_Waiting(poll, answer, time.monotonic() + poll.wait_s))
                # Something may have come since it found nothing.
                line.call()
                self._changed.notify()
                return
        answer(poll.otherwise, None)

    def close(self) -> None:
        """Answer all that wait as if their time were up, and those that still come at once."""
        with self._changed:
            self._closed = True
            for line in self._lines.values():
                line.call()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _has_thread(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="long-polls", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def _new_line(self, queue: str) -> _Line:
        line = self._lines[queue] = _Line(queue)
        self._environment.signals.watch([queues.signal(queue)], _Wake(lambda: self._call(line)))
        return line

    def _call(self, line: _Line) -> None:
        with self._changed:
            if line.waiting:
                line.call()
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                now_s = time.monotonic()
                to_look_at = [line for line in self._lines.values() if line.look_s <= now_s]
                over = [each for line in to_look_at for each in _take_over(line, now_s, self._closed)]
                to_try = [line for line in to_look_at if _is_due(line, now_s)]
                for line in to_try:
                    line.trying, line.called = True, False
                for line in to_look_at:
                    line.plan()
                if not over and not to_try:
                    if self._closed and not any(line.waiting for line in self._lines.values()):
                        return
                    self._changed.wait(self._wait_s(now_s))
                    continue
            for each in over:
                each.answer(each.poll.otherwise, None)
            for line in to_try:
                self._try(line)

    def _wait_s(self, now_s: float) -> float | None:
        look_s = min((line.look_s for line in self._lines.values()), default=_NEVER_S)
        return None if look_s == _NEVER_S else max(0.0, look_s - now_s)

    def _try(self, line: _Line) -> None:
        """Try the first of a line where its queue has something."""
        first = line.waiting[0]

        def tried(result: Mapping[str, Any] | None, error: BaseException | None) -> None:
            self._tried(line, first, result, error)

        try:
            wait_s = self._ready_in_s(line.queue)
            if wait_s <= 0:
                self._environment.submit(first.poll.run, tried)
                return
        except Exception as error:  # noqa: BLE001 - it is for who waits to hear; the others wait on
            tried(None, error)
            return
        with self._changed:
            line.trying, line.due_s = False, time.monotonic() + wait_s
            line.plan()

    def _ready_in_s(self, queue: str) -> float:
        """How long until a queue has something to receive."""
        with self._environment.read() as transaction:
            ready_ms = queues.next_ready_ms(transaction, queue)
        return _NEVER_S if ready_ms is None else (ready_ms - self._environment.now_ms()) / 1000

    def _tried(
        self, line: _Line, first: _Waiting, result: Mapping[str, Any] | None, error: BaseException | None
    ) -> None:
        answered = result is not None or error is not None
        with self._changed:
            line.trying = False
            if answered:
                line.waiting.remove(first)
                line.called = True
            else:
                line.due_s = time.monotonic() + _AGAIN_S
            line.plan()
            self._changed.notify()
        if answered:
            first.answer(result, error)


def _is_due(line: _Line, now_s: float) -> bool:
    return bool(line.waiting) and not line.trying and (line.called or line.due_s <= now_s)


def _take_over(line: _Line, now_s: float, closed: bool) -> list[_Waiting]:
    """Take out of a line whose time is over; nobody while the first one is being tried."""
    if line.trying:
        return []
    over = [each for each in line.waiting if closed or each.deadline_s <= now_s]
    for each in over:
        line.waiting.remove(each)
    return over
