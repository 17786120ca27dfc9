"""Functions: retries, timeouts, idempotency records, dead letters with payload, order per lane."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import pytest

from afterwrite import App, Context, Message, Rejected, Throttled
from afterwrite.app import Function
from afterwrite.core import backpressure
from afterwrite.core.ports import Delivery, Settled, WorkQueue
from afterwrite.engine.attempts import RESULT_BYTES_MAX
from afterwrite.errors import StorageFull
from afterwrite.local.work_queues import FunctionQueue, Trials, stuck_note
from afterwrite.store import ledger, queues, waiting_messages
from afterwrite.store.environment import Environment
from bounds import BOUND_S
from embedded import Clock
from engine.dispatching import Dispatching

Handler = Callable[[Any, Context], Any]
Start = Callable[..., Dispatching]


@pytest.fixture
def start(environment: Environment, clock: Clock) -> Iterator[Start]:
    """Start the dispatcher of a handler, declared with the options given."""
    started: list[Dispatching] = []

    def start(
        handler: Handler, *, wrap: Any = lambda queue: queue, trials: Trials | None = None, **options: Any
    ) -> Dispatching:
        function = App("a").function(**{"backoff_s": 1.0, **options})(handler)
        started.append(Dispatching(environment, clock, function, wrap=wrap, trials=trials))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_a_request_is_run_once_and_its_result_is_kept(start: Start) -> None:
    seen: list[Any] = []

    def work(request: Any, context: Context) -> Any:
        seen.append((request, context.invocation_id, context.attempt, context.remaining_ms))
        return {"sum": request["a"] + 1}

    work_queue = start(work, timeout_s=5)
    work_queue.send({"a": 1}, id="m1")
    assert work_queue.settle() is None
    assert seen == [({"a": 1}, "m1", 1, 5000)]
    assert work_queue.depth() == 0
    done = work_queue.completion("m1")
    assert done is not None
    assert (done.done, done.attempts, done.result) == (True, 1, {"sum": 2})


def failing(request: Any, context: Context) -> None:
    raise ValueError(f"attempt {context.attempt}")


RAISED_HERE = f"test_delivery.py:{failing.__code__.co_firstlineno + 1}"


def test_attempts_are_exactly_as_many_as_declared_with_growing_waits(start: Start, clock: Clock) -> None:
    attempts: list[int] = []

    def work(request: Any, context: Context) -> None:
        attempts.append(context.attempt)
        failing(request, context)

    work_queue = start(work, retries=3)
    work_queue.send({"a": 1}, id="m1")
    waits = []
    while (due_s := work_queue.settle()) is not None:
        waits.append(due_s)
        clock.advance(s=due_s)
    assert attempts == [1, 2, 3, 4]
    # Half (the jitter) of 1 s, 2 s, 4 s.
    assert waits == [0.5, 1.0, 2.0]


def test_one_that_is_throttled_waits_by_how_long_it_fails_not_by_how_long_it_has_waited_behind_others(
    start: Start, clock: Clock
) -> None:
    failures = 3

    def work(request: Any, context: Context) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Throttled("later")

    work_queue = start(work, backoff_s=1.0)
    work_queue.send("old", id="m1")
    clock.advance(s=3600)
    waits = []
    while (due_s := work_queue.settle()) is not None:
        waits.append(due_s)
        clock.advance(s=due_s)
    # Half (the jitter) of 1 s, of 1 s at least, of the 1 s since the first.
    assert waits == [0.5, 0.5, 0.5]
    assert work_queue.depth() == 0


def test_a_failure_s_reason_is_in_the_log_s_text_whoever_shows_it(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    work_queue = start(failing, retries=0)
    work_queue.send({"a": 1}, id="m1")
    work_queue.settle()
    (line,) = caplog.messages
    assert line == (
        "invocation given up: function='failing' message_id='m1' attempt=1 condition='attempts exhausted' "
        f"reason='ValueError: attempt 1 (at {RAISED_HERE})'"
    )


def test_a_dead_letter_has_payload_and_reason(start: Start) -> None:
    work_queue = start(failing, retries=0)
    work_queue.send({"a": 1}, id="m1", attributes={"level": "high"}, subject="s")
    assert work_queue.settle() is None
    (dead,) = work_queue.dead_letters()
    assert (dead.id, dead.body, dead.lane, dead.subject) == ("m1", {"a": 1}, "lane", "s")
    told = dead.attributes or {}
    assert re.fullmatch("[0-9a-f]{8}", told["dead_letter_fingerprint"])
    assert told["dead_letter_traceback"].endswith(f"{RAISED_HERE} in failing\nValueError")
    assert told == {
        "level": "high",
        "dead_letter_source": "function-failing",
        "dead_letter_function": "failing",
        "dead_letter_reason": f"ValueError: attempt 1 (at {RAISED_HERE})",
        "dead_letter_kind": "bug",
        "dead_letter_condition": "attempts exhausted",
        "dead_letter_fingerprint": told["dead_letter_fingerprint"],
        "dead_letter_traceback": told["dead_letter_traceback"],
        "dead_letter_receive_count": 1,
        "dead_letter_at_ms": work_queue.clock.now_ms,
    }
    assert work_queue.depth() == 0
    assert work_queue.completion("m1") is None


def test_a_failing_message_holds_its_lane_and_no_other_until_it_is_buried(start: Start, clock: Clock) -> None:
    ran: list[str] = []

    def work(request: Any, context: Context) -> None:
        ran.append(request)
        if request == "a1":
            raise ValueError

    work_queue = start(work, retries=1)
    for name in ("a1", "a2", "b1", "b2"):
        work_queue.send(name, lane=name[0])
    due_s = work_queue.settle()
    assert sorted(ran) == ["a1", "b1", "b2"]
    clock.advance(s=due_s or 0)
    work_queue.settle()
    assert ran[3:] == ["a1", "a2"]
    assert [dead.body for dead in work_queue.dead_letters()] == ["a1"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (SystemExit(1), "SystemExit: 1"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("half \ud800 pair"), "half \\ud800 pair"),
        (ValueError("x" * 1_000_000), "characters)"),
    ],
    ids=["exit", "interrupt", "no-utf8", "long"],
)
def test_whatever_is_raised_is_a_failed_attempt(start: Start, fault: BaseException, words: str) -> None:
    def work(request: Any, context: Context) -> None:
        raise fault

    work_queue = start(work, retries=0)
    work_queue.send("m1")
    work_queue.settle()
    (dead,) = work_queue.dead_letters()
    assert words in (dead.attributes or {})["dead_letter_reason"]
    # The thread lives on.
    work_queue.send("m2")
    work_queue.settle()
    assert len(work_queue.dead_letters()) == 2


def test_a_result_that_cannot_be_kept_is_a_failed_attempt(start: Start) -> None:
    work_queue = start(returns_object, retries=0)
    work_queue.send("m1")
    work_queue.settle()
    (dead,) = work_queue.dead_letters()
    assert "expected JSON values" in (dead.attributes or {})["dead_letter_reason"]


def returns_object(request: Any, context: Context) -> Any:
    return object()


def test_a_result_is_kept_however_deep_it_is_nested(start: Start) -> None:
    def nest(request: Any, context: Context) -> Any:
        result: Any = []
        for _ in range(253):
            result = [result]
        return result

    work_queue = start(nest, retries=0)
    work_queue.send("m1")
    work_queue.settle()
    done = work_queue.completion("m1")
    assert done is not None
    assert done.result == nest(None, cast(Context, None))


def test_a_result_that_is_too_large_is_a_failed_attempt(start: Start) -> None:
    work_queue = start(returns_much, retries=0)
    work_queue.send("m1")
    work_queue.settle()
    (dead,) = work_queue.dead_letters()
    assert "expected a result of at most 1048576 bytes, got 1048577" in (dead.attributes or {})["dead_letter_reason"]


def returns_much(request: Any, context: Context) -> Any:
    return "x" * (RESULT_BYTES_MAX - 1)


def test_a_second_message_with_the_same_id_is_not_run(start: Start) -> None:
    ran: list[Any] = []

    def work(request: Any, context: Context) -> None:
        ran.append(request)

    work_queue = start(work)
    work_queue.send("first", id="same")
    work_queue.send("again", id="same")
    work_queue.send("elsewhere", id="same", lane="other lane")
    # The one in the other lane found the first in progress, and looks again when that lease would end.
    work_queue.clock.advance(s=work_queue.settle() or 0)
    work_queue.settle()
    assert len(ran) == 1
    assert work_queue.depth() == 0


class Gate:
    """A handler that waits to be let through."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.ran: list[Any] = []

    def __call__(self, request: Any, context: Context) -> Any:
        self.ran.append((request, context.attempt))
        self.entered.release()
        assert self.open.wait(BOUND_S)
        return request

    __name__ = "gate"

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=BOUND_S)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_a_message_whose_twin_is_in_progress_waits_and_loses_no_attempt(start: Start, gate: Gate) -> None:
    work_queue = start(gate, retries=0)
    work_queue.send("first", id="same", lane="a")
    work_queue.send("twin", id="same", lane="b")
    work_queue.step()
    gate.wait_entered()
    assert work_queue.step() is not None
    assert gate.ran == [("first", 1)]
    gate.open.set()
    work_queue.settle()
    work_queue.clock.advance(s=100)
    work_queue.settle()
    assert gate.ran == [("first", 1)]
    assert (work_queue.depth(), work_queue.dead_letters()) == (0, [])


def test_a_twin_has_all_its_attempts_after_the_first_has_failed(start: Start, gate: Gate) -> None:
    def fail_first(request: Any, context: Context) -> None:
        gate(request, context)
        if request == "first":
            raise ValueError

    work_queue = start(fail_first, retries=0, timeout_s=10)
    work_queue.send("first", id="same", lane="a")
    work_queue.send("twin", id="same", lane="b")
    work_queue.step()
    gate.wait_entered()
    gate.open.set()
    work_queue.settle()
    work_queue.clock.advance(s=100)
    work_queue.settle()
    assert gate.ran == [("first", 1), ("twin", 1)]
    assert [dead.body for dead in work_queue.dead_letters()] == ["first"]


def test_an_attempt_past_its_timeout_is_failed_and_what_it_returns_later_is_ignored(
    start: Start, gate: Gate, clock: Clock
) -> None:
    work_queue = start(gate, retries=1, timeout_s=2)
    work_queue.send("m1")
    assert work_queue.step() == 2.0
    gate.wait_entered()
    clock.advance(s=2)
    assert work_queue.step() == 0.5
    clock.advance(s=0.5)
    work_queue.step()
    gate.wait_entered()
    assert gate.ran == [("m1", 1), ("m1", 2)]
    clock.advance(s=2)
    work_queue.step()
    (dead,) = work_queue.dead_letters()
    assert (dead.attributes or {})["dead_letter_reason"] == (
        "timed out after 2 s, beside another attempt of its lane that hangs"
    )
    gate.open.set()
    work_queue.send("m2")
    work_queue.settle()
    assert work_queue.completion("m1") is None
    assert work_queue.completion("m2") is not None


def test_stuck_threads_are_bounded_and_their_return_lets_work_go_on(
    start: Start, gate: Gate, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "STUCK_LIMIT", 2)
    work_queue = start(gate, retries=0, timeout_s=1, concurrency=2)
    for number in range(4):
        work_queue.send(number, id=f"m{number}", lane=str(number))
    work_queue.step()
    gate.wait_entered()
    gate.wait_entered()
    clock.advance(s=1)
    # Both are stuck: nothing more is received, and nothing is asked for in vain.
    assert work_queue.step() is None
    assert len(gate.ran) == 2
    assert work_queue.depth() == 2
    gate.open.set()
    for _ in range(2):
        gate.entered.acquire(blocking=False)
    while work_queue.depth():
        assert work_queue.wake.wait(BOUND_S)
        work_queue.wake.clear()
        work_queue.step()
    assert [request for request, _ in gate.ran[2:]] in ([2, 3], [3, 2])


def test_a_lane_whose_attempts_hang_waits_and_the_others_go_on(
    start: Start, gate: Gate, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def work(request: Any, context: Context) -> None:
        if request.startswith("bad"):
            gate(request, context)
        else:
            ran.append(request)

    ran: list[str] = []
    work_queue = start(work, retries=5, timeout_s=1, concurrency=1, backoff_s=0)
    for name in ("bad1", "bad2", "then"):
        work_queue.send(name, lane="bad")
    for _ in range(2):
        work_queue.step()
        gate.wait_entered()
        clock.advance(s=1)
    work_queue.step()
    assert [dead.body for dead in work_queue.dead_letters()] == ["bad1"]
    # The lane's next message is not run, and costs the others nothing.
    assert not gate.entered.acquire(blocking=False)
    assert [record.__dict__["event"] for record in caplog.records if record.levelname == "ERROR"] == [
        "lane waits for attempts that hang"
    ]
    work_queue.send("good", lane="good")
    work_queue.step()
    until(work_queue, lambda: ran == ["good"])
    assert stuck(work_queue) == 2
    gate.open.set()
    work_queue.settle()
    until(work_queue, lambda: stuck(work_queue) == 0)
    assert ran == ["good", "then"]
    assert gate.ran[2:] == [("bad2", 1)]


def stuck(work_queue: Dispatching) -> int:
    with work_queue.environment.read() as transaction:
        return int(ledger.note(transaction, stuck_note(work_queue.function.name)))


def until(work_queue: Dispatching, condition: Callable[[], bool]) -> None:
    """Step whenever something has ended, until `condition` holds."""
    while not condition():
        assert work_queue.wake.wait(BOUND_S)
        work_queue.wake.clear()
        work_queue.step()


def test_what_a_process_died_with_runs_one_at_a_time_before_the_rest(start: Start, gate: Gate) -> None:
    crashed = start(gate, retries=1, concurrency=3)
    for lane in "abc":
        crashed.send(lane, lane=lane)
    crashed.step()
    for _ in range(3):
        gate.wait_entered()
    crashed.send("later", lane="d")
    gate.ran.clear()
    # The process dies again and again in the first of them, until that has no attempts left.
    for attempts in ([("a", 2)], [("b", 2)]):
        crashed = start(gate, retries=1, concurrency=3)
        crashed.step()
        gate.wait_entered()
        assert crashed.step() is not None
        assert gate.ran == attempts
        gate.ran.clear()
    assert [dead.body for dead in crashed.dead_letters()] == ["a"]
    gate.open.set()
    until(crashed, lambda: crashed.depth() == 0)
    assert gate.ran == [("c", 2), ("later", 1)]
    assert len(crashed.dead_letters()) == 1


def test_trials_take_turns_over_functions(start: Start, gate: Gate) -> None:
    def other(request: Any, context: Context) -> None:
        ran.append(request)

    ran: list[Any] = []
    first, second = start(gate), start(other)
    for each in (first, second):
        each.send("m")
        # What a process that died had received.
        FunctionQueue(each.environment, each.function).exchange([], limit=1)
    trials = Trials()
    first, second = start(gate, trials=trials), start(other, trials=trials)
    first.step()
    gate.wait_entered()
    assert second.step() is None
    assert second.depth() == 1
    second.wake.clear()
    gate.open.set()
    until(first, lambda: first.depth() == 0)
    until(second, lambda: second.depth() == 0)
    assert ran == ["m"]


def test_no_step_of_the_clock_ends_an_attempt_or_hands_it_out_twice(
    environment: Environment, clock: Clock, gate: Gate
) -> None:
    function = App("a").function(retries=0, timeout_s=60)(gate)
    work_queue = Dispatching(environment, clock, function, monotonic_s=lambda: 0.0)
    work_queue.send("m1")
    work_queue.step()
    gate.wait_entered()
    clock.advance(s=7_200)
    work_queue.step()
    assert gate.ran == [("m1", 1)]
    gate.open.set()
    work_queue.settle()
    assert work_queue.completion("m1") is not None
    work_queue.close()


def test_a_crash_between_running_and_settling_runs_it_again_under_the_same_id(
    start: Start, gate: Gate, environment: Environment, clock: Clock
) -> None:
    seen: list[tuple[str, int]] = []

    def gate_(request: Any, context: Context) -> Any:
        seen.append((context.invocation_id, context.attempt))
        return gate(request, context) if context.attempt == 1 else None

    crashed = start(gate_, retries=2, timeout_s=60)
    crashed.send("m1")
    crashed.step()
    gate.wait_entered()
    # Nobody settles; another process opens the queue, and does not wait for the lease.
    again = start(gate_, retries=2, timeout_s=60)
    again.settle()
    assert seen == [("m1", 1), ("m1", 2)]
    done = again.completion("m1")
    assert done is not None
    assert (done.done, done.attempts) == (True, 2)
    # What the dead process finishes after all settles nothing.
    gate.open.set()
    assert crashed.wake.wait(BOUND_S)
    crashed.step()
    assert (again.completion("m1"), again.depth()) == (done, 0)


def test_a_crash_in_the_last_attempt_ends_in_a_dead_letter(start: Start, gate: Gate) -> None:
    crashed = start(gate, retries=0)
    crashed.send({"a": 1}, id="m1")
    crashed.step()
    gate.wait_entered()
    again = start(gate, retries=0)
    again.settle()
    (dead,) = again.dead_letters()
    assert dead.body == {"a": 1}
    assert (dead.attributes or {})["dead_letter_reason"] == "every attempt ended without an outcome"
    assert gate.ran == [({"a": 1}, 1)]


def test_lanes_run_in_parallel_and_each_in_order(start: Start) -> None:
    together = threading.Barrier(4, timeout=BOUND_S)
    ran: dict[str, list[int]] = {}
    busy: set[str] = set()

    def work(request: Any, context: Context) -> None:
        lane, number = request
        assert lane not in busy
        busy.add(lane)
        ran.setdefault(lane, []).append(number)
        if number == 0:
            together.wait()
        busy.remove(lane)

    work_queue = start(work, concurrency=4, retries=0)
    for number in range(20):
        for lane in "abcd":
            work_queue.send([lane, number], lane=lane)
    work_queue.settle()
    assert ran == {lane: list(range(20)) for lane in "abcd"}
    assert work_queue.dead_letters() == []


def test_what_was_received_runs_on_the_threads_that_the_system_gives(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: set[str] = set()

    def work(request: Any, context: Context) -> None:
        names.add(threading.current_thread().name)

    work_queue = start(work, concurrency=4)
    real = threading.Thread.start

    def start_first(thread: threading.Thread) -> None:
        if not thread.name.endswith("-1"):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start_first)
    for number in range(8):
        work_queue.send(number, lane=f"lane-{number}")
    work_queue.settle()
    assert all(work_queue.completion(str(number)) for number in range(8))
    assert len(names) == 1


def test_no_more_run_together_than_declared(start: Start, gate: Gate) -> None:
    work_queue = start(gate, concurrency=2)
    for lane in "abc":
        work_queue.send(lane, lane=lane)
    work_queue.step()
    gate.wait_entered()
    gate.wait_entered()
    work_queue.step()
    assert not gate.entered.acquire(blocking=False)
    assert work_queue.in_flight() == 2
    gate.open.set()
    work_queue.settle()
    assert len(gate.ran) == 3


def test_what_is_sent_while_a_thread_is_idle_is_received_and_begun_with_its_commit(start: Start, gate: Gate) -> None:
    work_queue = start(gate, concurrency=2)
    assert work_queue.step() is None
    gate.open.set()
    work_queue.send("first", lane="a")  # that there is a thread
    work_queue.settle()
    gate.open.clear()
    gate.wait_entered()
    work_queue.send("second", lane="b")
    assert work_queue.in_flight() == 1
    gate.wait_entered()  # before the dispatcher had its turn
    gate.open.set()
    work_queue.settle()
    assert gate.ran == [("first", 1), ("second", 1)]
    assert work_queue.depth() == 0


def test_no_more_are_received_as_they_are_sent_than_there_are_idle_threads(start: Start, gate: Gate) -> None:
    work_queue = start(gate, concurrency=2)
    work_queue.step()
    for lane in "abc":
        work_queue.send(lane, lane=lane)
    assert work_queue.in_flight() == 2
    work_queue.step()
    gate.wait_entered()
    gate.wait_entered()
    work_queue.send("d", lane="d")
    work_queue.step()
    assert work_queue.in_flight() == 2
    gate.open.set()
    until(work_queue, lambda: work_queue.depth() == 0)
    assert sorted(gate.ran) == [("a", 1), ("b", 1), ("c", 1), ("d", 1)]


def test_what_was_received_as_it_was_sent_is_given_back_by_a_stop_that_does_not_wait(start: Start, gate: Gate) -> None:
    work_queue = start(gate)
    work_queue.step()
    work_queue.send("m1")
    assert work_queue.in_flight() == 1
    work_queue.dispatcher.stop(wait_s=0)
    assert work_queue.in_flight() == 0
    gate.open.set()
    again = start(gate)
    again.settle()
    assert again.depth() == 0
    assert gate.ran[-1] == ("m1", 1)


def test_while_a_breaker_is_open_nothing_is_begun_as_it_is_sent(start: Start) -> None:
    ran: list[Any] = []

    def work(request: Any, context: Context) -> None:
        ran.append(request)
        raise Throttled

    work_queue = start(work, concurrency=8)
    for number in range(5):
        work_queue.send(number, lane=str(number))
    work_queue.settle()
    assert sorted(ran) == [0, 1, 2, 3, 4]
    work_queue.send("later", lane="later")
    work_queue.step()
    assert work_queue.in_flight() == 0
    assert "later" not in ran


class FullOnce:
    """A queue whose disk is full once, when something is to be settled."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self.failures = 0
        self.expect, self.tell_received = queue.expect, queue.tell_received
        self.next_ready_ms, self.watch = queue.next_ready_ms, queue.watch

    def exchange(self, settled: Iterable[Settled], *, limit: int) -> Sequence[Delivery]:
        finished = list(settled)
        if finished and not self.failures:
            self.failures = 1
            raise StorageFull("no space left")
        return self._queue.exchange(finished, limit=limit)


def test_what_a_full_disk_could_not_settle_is_settled_later_and_not_run_again(start: Start) -> None:
    ran: list[Any] = []

    def work(request: Any, context: Context) -> None:
        ran.append(request)

    work_queue = start(work, wrap=FullOnce)
    work_queue.send("m1")
    with pytest.raises(StorageFull):
        work_queue.settle()
    work_queue.settle()
    assert ran == ["m1"]
    assert work_queue.completion("m1") is not None
    assert work_queue.depth() == 0


def test_stopping_settles_what_ends_in_time(start: Start, gate: Gate) -> None:
    work_queue = start(gate)
    work_queue.send("m1")
    work_queue.step()
    gate.wait_entered()
    threading.Timer(0.05, gate.open.set).start()
    work_queue.dispatcher.stop(wait_s=BOUND_S)
    assert work_queue.completion("m1") is not None
    assert work_queue.depth() == 0


def test_stopping_does_not_wait_for_what_takes_longer(start: Start, gate: Gate) -> None:
    work_queue = start(gate)
    work_queue.send("m1")
    work_queue.step()
    gate.wait_entered()
    work_queue.dispatcher.stop(wait_s=0.01)
    assert work_queue.completion("m1") is None
    # It comes again as if it had not been received.
    again = start(gate)
    again.step()
    gate.wait_entered()
    assert gate.ran == [("m1", 1), ("m1", 1)]


def consumer_of(app: App, name: str, handler: Callable[[Message, Context], Any]) -> Function:
    queue = next(each for each in app.queues if each.name == name)
    return queue.consumer(concurrency=1)(handler)


def test_a_consumer_is_given_the_message_with_its_receive_count(environment: Environment, clock: Clock) -> None:
    app = App("a")
    app.queue("mail", max_receives=2, visibility_timeout_s=7)
    seen: list[Message] = []

    def read(message: Message, context: Context) -> None:
        seen.append(message)
        assert context.remaining_ms == 7000
        if message.receive_count == 1:
            raise ValueError

    mail = Dispatching(environment, clock, consumer_of(app, "mail", read))
    mail.send({"to": "x"}, id="m1", attributes={"k": 1}, subject="s")
    clock.advance(s=mail.settle() or 0)
    mail.settle()
    sent_at_ms = seen[0].sent_at_ms
    assert seen == [Message("m1", {"to": "x"}, sent_at_ms, "s", {"k": 1}, count) for count in (1, 2)]
    mail.close()


def test_a_subscriber_that_always_fails_dead_letters_after_exactly_three_receives_and_touches_no_other(
    environment: Environment, clock: Clock
) -> None:
    app = App("a")
    names = ("dashboard", "customer-mail", "escalation")
    for name in names:
        app.queue(name, max_receives=3)
    received: dict[str, list[str]] = {name: [] for name in names}

    def reader(name: str) -> Callable[[Message, Context], None]:
        def read(message: Message, context: Context) -> None:
            received[name].append(message.id)
            if name == "customer-mail":
                raise ConnectionError("no mail today")

        read.__name__ = f"read_{name}"
        return read

    consumers = {name: Dispatching(environment, clock, consumer_of(app, name, reader(name))) for name in names}
    for consumer in consumers.values():
        for number in range(5):
            consumer.send({"handoff": number}, id=f"m{number}", lane=f"lane{number % 2}")
    for _ in range(100):
        waits = [consumer.settle() for consumer in consumers.values()]
        if waits == [None, None, None]:
            break
        clock.advance(s=max(wait or 0 for wait in waits))
    ids = [f"m{number}" for number in range(5)]
    assert sorted(received["customer-mail"]) == sorted(ids * 3)
    dead = consumers["customer-mail"].dead_letters()
    assert sorted(each.id for each in dead) == ids
    assert sorted(each.body["handoff"] for each in dead) == list(range(5))
    assert {(each.attributes or {})["dead_letter_receive_count"] for each in dead} == {3}
    for each in dead:
        assert (each.attributes or {})["dead_letter_reason"].startswith(
            "ConnectionError: no mail today (at test_delivery"
        )
    for name in ("dashboard", "escalation"):
        assert sorted(received[name]) == ids
        assert consumers[name].dead_letters() == []
        assert consumers[name].depth() == 0
    for consumer in consumers.values():
        consumer.close()


def test_a_dead_letter_queue_may_be_consumed_like_any_other(environment: Environment, clock: Clock) -> None:
    app = App("a")
    app.queue("mail", max_receives=1)
    app.queue("mail-dead-letters")
    seen: list[Any] = []
    mail = Dispatching(environment, clock, consumer_of(app, "mail", failing))
    dead = Dispatching(environment, clock, consumer_of(app, "mail-dead-letters", lambda_(seen)))
    mail.send("m1")
    mail.settle()
    dead.settle()
    assert [message.body for message in seen] == ["m1"]
    with environment.read() as transaction:
        assert queues.depth(transaction, "mail-dead-letters") == 0
    mail.close()
    dead.close()


def lambda_(seen: list[Any]) -> Callable[[Any, Context], None]:
    def read(message: Any, context: Context) -> None:
        seen.append(message)

    return read


def test_a_function_declared_so_parks_its_lane_and_goes_on_with_the_others(
    environment: Environment, clock: Clock
) -> None:
    ran: list[str] = []

    def work(request: str, context: Context) -> None:
        ran.append(request)
        if request == "a1":
            raise ValueError("no")

    function = App("a").function(retries=1, backoff_s=0, exhausted="park")(work)
    work_queue = Dispatching(environment, clock, function)
    for name in ("a1", "a2", "b1"):
        work_queue.send(name, lane=name[0])
    work_queue.settle()
    assert sorted(ran) == ["a1", "a1", "b1"]
    assert work_queue.dead_letters() == []
    assert (work_queue.depth(), work_queue.settle()) == (2, None)
    work_queue.close()
    # A restart lets nothing go on.
    work_queue = Dispatching(environment, clock, function)
    assert work_queue.settle() is None
    assert len(ran) == 3
    with environment.read() as transaction:
        (head,) = waiting_messages.parked_heads(transaction, function.queue_name)
    assert (head.message_id, head.attempts, head.failure.reason.split(" (")[0]) == ("a1", 2, "ValueError: no")
    environment.write(lambda transaction: waiting_messages.unpark(transaction, function.queue_name, *place(head)))
    work_queue.settle()
    assert ran[3:] == ["a1", "a1"]
    with environment.read() as transaction:
        (head,) = waiting_messages.parked_heads(transaction, function.queue_name)
    environment.write(lambda transaction: waiting_messages.drop_parked(transaction, function.queue_name, *place(head)))
    work_queue.settle()
    assert ran[5:] == ["a2"]
    assert work_queue.depth() == 0
    work_queue.close()


def place(head: waiting_messages.ParkedHead) -> tuple[bytes, int]:
    return head.lane_digest, head.arrival


def test_what_is_rejected_is_not_tried_again_and_throttling_costs_no_attempt(start: Start, clock: Clock) -> None:
    ran: list[int] = []

    def work(request: str, context: Context) -> None:
        if request == "no":
            raise Rejected("not this one")
        ran.append(context.attempt)
        if len(ran) < 6:
            raise Throttled("later")

    work_queue = start(work, retries=1, backoff_s=0.001)
    work_queue.send("no", lane="a")
    work_queue.send("yes", lane="b")
    while (due_s := work_queue.settle()) is not None:
        clock.advance(s=due_s)
    assert ran == [1] * 6
    (dead,) = work_queue.dead_letters()
    told = dead.attributes or {}
    assert (told["dead_letter_kind"], told["dead_letter_condition"]) == ("rejected", "rejected")
    assert told["dead_letter_receive_count"] == 1


def test_what_is_too_old_after_a_failure_is_given_up(start: Start, clock: Clock) -> None:
    work_queue = start(failing, retries=50, backoff_s=100, age_max_s=60)
    work_queue.send("m1")
    while (due_s := work_queue.settle()) is not None:
        clock.advance(s=due_s)
    (dead,) = work_queue.dead_letters()
    assert (dead.attributes or {})["dead_letter_condition"] == "too old"


def test_keys_that_hang_do_not_stop_a_function_for_the_others(start: Start, gate: Gate, clock: Clock) -> None:
    def work(request: str, context: Context) -> None:
        if request.startswith("bad"):
            gate(request, context)
        else:
            ran.append(request)

    ran: list[str] = []
    work_queue = start(work, retries=5, timeout_s=1, concurrency=4, backoff_s=0.1)
    for number in range(17):
        work_queue.send(f"bad{number}", lane=f"bad{number}")
    # Until each of them has hung twice and is given up: more threads hang than may before the function is slowed.
    for _ in range(2_000):
        if len(work_queue.dead_letters()) == 17:
            break
        due_s = work_queue.step()
        clock.advance(s=1 if due_s is None else due_s)
    for _ in range(2 * 17):
        gate.wait_entered()
    work_queue.send("good", lane="good")
    deadline_s = time.monotonic() + BOUND_S
    while not ran:
        assert time.monotonic() < deadline_s, "the message has not run"
        work_queue.step()
        # On a busy machine its attempt begins late: its time must not run out before.
        if work_queue.in_flight():
            work_queue.wake.wait(0.05)
        else:
            clock.advance(s=1)
    assert ran == ["good"]
    gate.open.set()
    until(work_queue, lambda: stuck(work_queue) == 0)


class Target:
    """What functions call; it is down until it is brought up."""

    def __init__(self) -> None:
        self.up = False
        self.calls: list[str] = []

    def __call__(self, request: str, context: Context) -> None:
        self.calls.append(request)
        if not self.up:
            raise ConnectionRefusedError("down")

    __name__ = "target"


def test_a_target_that_is_down_is_left_alone_and_what_is_bound_for_it_waits_with_its_attempts(
    start: Start, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    target = Target()
    work_queue = start(target, retries=2, concurrency=4, backoff_s=0.01)
    names = [f"m{number}" for number in range(60)]
    for name in names:
        work_queue.send(name, lane=name)
    ends_ms = clock.now_ms + 600_000
    while clock.now_ms < ends_ms:
        clock.advance(s=work_queue.settle() or 1)
    # A few calls found it down, then one probe a minute at most did.
    assert len(target.calls) < 30
    assert work_queue.dead_letters() == []
    target.up = True
    while (due_s := work_queue.settle()) is not None:
        clock.advance(s=due_s)
    assert work_queue.depth() == 0
    assert work_queue.dead_letters() == []
    assert set(target.calls) == set(names)
    said = [event for record in caplog.records if (event := record.__dict__["event"]).startswith("target")]
    assert said == ["target left alone"]


def test_a_key_that_fails_slows_no_other_down(start: Start, clock: Clock) -> None:
    ran: list[str] = []

    def work(request: str, context: Context) -> None:
        ran.append(request)
        if request.startswith("bad"):
            raise ConnectionRefusedError("down")

    work_queue = start(work, retries=2, concurrency=4, backoff_s=0.01)
    for number in range(4):
        work_queue.send(f"bad{number}", lane=f"bad{number}")
    for number in range(50):
        work_queue.send(f"good{number}", lane=f"good{number}")
    started_ms = clock.now_ms
    while (due_s := work_queue.settle()) is not None:
        clock.advance(s=due_s)
    assert len(ran) == 4 * 3 + 50
    assert clock.now_ms - started_ms < 1_000
