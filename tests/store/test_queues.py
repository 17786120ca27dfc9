"""Durable queues: lanes in order, one message in flight a lane, visibility, delay, receipts, depths."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from afterwrite.core.failures import failure
from afterwrite.core.lanes import digest
from afterwrite.store import queues, waiting_messages
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.names import U32, number_of
from afterwrite.store.queues import Message, Received
from afterwrite.store.waiting_messages import ParkedHead
from embedded import START_MS, Clock, open_store

QUEUE = "work"
LANES = ("a", "b", "c")
WHY = failure("bug", "why")


class Queue:
    """The store's queue, one commit a call."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def send(self, lane: str, id: str, *, not_before_ms: int = 0, queue: str = QUEUE) -> None:
        encoded = queues.encode(Message(id=id, body={"id": id}, lane=lane, sent_at_ms=START_MS))
        self.environment.write(
            lambda transaction: queues.send(transaction, queue, lane, encoded, not_before_ms=not_before_ms)
        )

    def receive(self, limit: int = 10, *, visibility_ms: int = 1000) -> list[Received]:
        return self.environment.write(
            lambda transaction: queues.receive(
                transaction, QUEUE, limit=limit, visibility_ms=visibility_ms, now_ms=transaction.now_ms
            )
        )

    def remove(self, received: Received) -> bool:
        return self.environment.write(lambda transaction: queues.remove(transaction, QUEUE, received))

    def release(self, received: Received, at_ms: int, *, counted: bool = True) -> bool:
        return self.environment.write(
            lambda transaction: queues.release(transaction, QUEUE, received, at_ms=at_ms, counted=counted)
        )

    def take_over(self, *, wait_ms_max: int = 60_000) -> list[str]:
        return self.environment.write(lambda transaction: queues.take_over(transaction, QUEUE, wait_ms_max=wait_ms_max))

    def receive_interrupted(self, *, visibility_ms: int = 1000) -> list[Received]:
        received = self.environment.write(
            lambda transaction: queues.receive_interrupted(
                transaction, QUEUE, visibility_ms=visibility_ms, now_ms=transaction.now_ms
            )
        )
        return [] if received is None else [received]

    def park(self, received: Received) -> bool:
        return self.environment.write(
            lambda transaction: queues.park(transaction, QUEUE, received, WHY, "attempts exhausted")
        )

    def parked(self) -> list[ParkedHead]:
        with self.environment.read() as transaction:
            return list(waiting_messages.parked_heads(transaction, QUEUE))

    def unpark(self, head: ParkedHead) -> bool:
        return self.environment.write(
            lambda transaction: waiting_messages.unpark(transaction, QUEUE, head.lane_digest, head.arrival)
        )

    def drop(self, head: ParkedHead, *, whole_lane: bool = False) -> int:
        return self.environment.write(
            lambda transaction: waiting_messages.drop_parked(
                transaction, QUEUE, head.lane_digest, head.arrival, whole_lane=whole_lane
            )
        )

    def withdraw(self, places: set[tuple[bytes, int]]) -> set[tuple[bytes, int]]:
        return self.environment.write(lambda transaction: waiting_messages.withdraw(transaction, QUEUE, places))

    def spoil(self, id: str, stored: bytes, *, sealed: bool = True) -> None:
        """Put other bytes where the message is; not `sealed`, as damage would."""

        def operation(transaction: WriteTransaction) -> None:
            low = U32.pack(number_of(transaction, "queue", QUEUE) or 0)
            for key, value in list(transaction.scan("messages", low)):
                if orjson.loads(value[8:])["id"] == id:
                    if sealed:
                        transaction.put("messages", key, value[:8] + stored)
                    else:
                        transaction.lmdb.put(key, stored, db=self.environment.databases["messages"].handle)
                        transaction.advance("spoilt")  # what changes nothing is not committed

        self.environment.write(operation)

    def state(self, now_ms: int) -> tuple[int, int, int | None, list[str]]:
        with self.environment.read() as transaction:
            return (
                queues.depth(transaction, QUEUE),
                queues.in_flight(transaction, QUEUE, now_ms),
                queues.next_ready_ms(transaction, QUEUE),
                sorted(message.id for message in waiting_messages.messages(transaction, QUEUE)),
            )


def ids(received: list[Received]) -> list[str]:
    return [each.message.id for each in received]


def test_a_lane_is_received_in_order_and_one_message_at_a_time(environment: Environment) -> None:
    queue = Queue(environment)
    for number in range(3):
        queue.send("a", f"a{number}")
    for number in range(3):
        received = queue.receive()
        assert ids(received) == [f"a{number}"]
        assert queue.receive() == []
        assert queue.remove(received[0])
    assert queue.state(START_MS) == (0, 0, None, [])


def test_lanes_do_not_wait_for_each_other(environment: Environment) -> None:
    queue = Queue(environment)
    for id in ("a0", "a1", "b0", "c0"):
        queue.send(id[0], id)
    assert ids(queue.receive()) == ["a0", "b0", "c0"]


def test_a_limit_takes_the_oldest_first(environment: Environment) -> None:
    queue = Queue(environment)
    for id in ("c0", "a0", "b0"):
        queue.send(id[0], id)
    assert ids(queue.receive(2)) == ["c0", "a0"]
    assert ids(queue.receive(2)) == ["b0"]
    assert queue.receive(0) == []


def test_a_message_that_is_not_settled_comes_again_when_its_visibility_ends(
    environment: Environment, clock: Clock
) -> None:
    queue = Queue(environment)
    queue.send("a", "a0")
    (first,) = queue.receive(visibility_ms=1000)
    assert first.receive_count == first.message.receive_count == 1
    clock.advance(ms=999)
    assert queue.receive() == []
    clock.advance(ms=1)
    (second,) = queue.receive(visibility_ms=1000)
    assert second.receive_count == 2
    # The first receipt is overtaken: whoever holds it can do nothing any more.
    assert not queue.remove(first)
    assert not queue.release(first, START_MS)
    assert queue.remove(second)
    assert not queue.remove(second)


def test_a_receipt_settles_once_even_where_the_message_is_released_to_the_same_time(
    environment: Environment, clock: Clock
) -> None:
    queue = Queue(environment)
    queue.send("a", "a0")
    (received,) = queue.receive(visibility_ms=1000)
    assert queue.release(received, received.visible_until_ms)
    assert not queue.remove(received)
    assert queue.state(clock.now_ms)[0] == 1


def test_a_released_message_keeps_its_place_before_the_later_ones_of_its_lane(
    environment: Environment, clock: Clock
) -> None:
    queue = Queue(environment)
    queue.send("a", "a0")
    queue.send("a", "a1")
    (received,) = queue.receive()
    queue.release(received, clock.now_ms + 500)
    assert queue.receive() == []
    clock.advance(ms=500)
    assert ids(queue.receive()) == ["a0"]


def test_a_delayed_message_holds_its_lane(environment: Environment, clock: Clock) -> None:
    queue = Queue(environment)
    queue.send("a", "a0", not_before_ms=clock.now_ms + 100)
    queue.send("a", "a1")
    queue.send("b", "b0")
    assert ids(queue.receive()) == ["b0"]
    clock.advance(ms=100)
    assert ids(queue.receive()) == ["a0"]


def test_what_a_dead_process_held_is_received_alone_and_the_others_keep_their_waits(
    environment: Environment, clock: Clock
) -> None:
    queue = Queue(environment)
    for id in ("a0", "b0", "c0"):
        queue.send(id[0], id)
    _, retried, _ = queue.receive(visibility_ms=60_000)
    queue.release(retried, clock.now_ms + 5_000)
    assert queue.state(clock.now_ms)[1] == 2
    assert queue.take_over() == ["a0", "c0"]
    assert queue.state(clock.now_ms)[1] == 0
    assert queue.receive() == []
    (first,) = queue.receive_interrupted()
    assert (first.message.id, first.receive_count) == ("a0", 2)
    # What another process dies with stays interrupted, also what it had not come to.
    assert sorted(queue.take_over()) == ["a0", "c0"]
    (again,) = queue.receive_interrupted()
    assert (again.message.id, again.receive_count) == ("a0", 3)
    assert queue.remove(again)
    assert ids(queue.receive_interrupted()) == ["c0"]
    assert queue.receive_interrupted() == []
    clock.advance(ms=5_000)
    assert ("b0", 2) in [(each.message.id, each.receive_count) for each in queue.receive()]


def test_a_message_with_an_outcome_is_interrupted_no_longer(environment: Environment, clock: Clock) -> None:
    queue = Queue(environment)
    queue.send("a", "a0")
    queue.receive()
    queue.take_over()
    (received,) = queue.receive_interrupted()
    queue.release(received, clock.now_ms)
    assert queue.take_over() == []
    assert ids(queue.receive()) == ["a0"]


def test_a_wait_that_was_begun_when_the_clock_was_wrong_is_cut(environment: Environment, clock: Clock) -> None:
    queue = Queue(environment)
    queue.send("a", "a0", not_before_ms=clock.now_ms + 60_000)
    queue.send("b", "b0", not_before_ms=clock.now_ms + 50_000_000)
    assert queue.take_over(wait_ms_max=60_000) == []
    clock.advance(ms=59_999)
    assert queue.receive() == []
    clock.advance(ms=1)
    assert ids(queue.receive()) == ["a0", "b0"]


def test_a_wait_lasts_as_long_as_it_was_to_last_where_the_clock_was_set_back_between_starts(
    tmp_path: Path, clock: Clock
) -> None:
    before = open_store(tmp_path / "s", clock)
    queue = Queue(before)
    for id in ("a0", "a1", "b0"):
        queue.send(id[0], id, not_before_ms=START_MS + 5_000)
    queue.send("c", "c0")
    (retried,) = queue.receive()
    queue.release(retried, START_MS + 2_000)
    before.close()
    clock.advance(ms=-7_200_000)
    again = open_store(tmp_path / "s", clock)
    queue = Queue(again)
    assert queue.take_over(wait_ms_max=86_400_000) == []
    clock.advance(ms=1_999)
    assert queue.receive() == []
    clock.advance(ms=1)
    (retried,) = queue.receive(visibility_ms=60_000)
    assert retried.message.id == "c0"
    clock.advance(ms=3_000)
    first, other = queue.receive()
    assert ids([first, other]) == ["a0", "b0"]
    # What waits behind it began its wait at the same time, and does not begin it anew.
    assert queue.remove(first)
    assert ids(queue.receive()) == ["a1"]
    again.close()


def test_a_message_of_before_waits_on_where_the_clock_was_not_set_back(environment: Environment, clock: Clock) -> None:
    queue = Queue(environment)
    queue.send("a", "a0", not_before_ms=START_MS + 60_000)
    clock.advance(ms=10_000)
    queue.take_over(wait_ms_max=86_400_000)
    clock.advance(ms=49_999)
    assert queue.receive() == []
    clock.advance(ms=1)
    assert ids(queue.receive()) == ["a0"]


def test_queues_do_not_see_each_other(environment: Environment) -> None:
    queue = Queue(environment)
    queue.send("a", "mine")
    queue.send("a", "theirs", queue="other")
    assert ids(queue.receive()) == ["mine"]
    with environment.read() as transaction:
        assert queues.queue_names(transaction) == ["other", QUEUE]
        assert [message.id for message in waiting_messages.messages(transaction, "other")] == ["theirs"]


def test_a_message_keeps_everything_it_was_sent_with(environment: Environment) -> None:
    sent = Message(
        id="x", body=["ü", 1, None], lane="a", sent_at_ms=START_MS, subject="s", attributes={"k": "v", "n": 1}
    )
    environment.write(lambda transaction: queues.send(transaction, QUEUE, "a", queues.encode(sent)))
    (received,) = Queue(environment).receive()
    assert received.message == sent._replace(receive_count=1)


def test_messages_survive_opening_again(tmp_path: Path, clock: Clock) -> None:
    first = open_store(tmp_path / "s", clock)
    Queue(first).send("a", "a0")
    Queue(first).receive()
    first.close()
    again = open_store(tmp_path / "s", clock)
    assert Queue(again).take_over() == ["a0"]
    assert ids(Queue(again).receive_interrupted()) == ["a0"]
    again.close()


UNREADABLE = [
    (b"no json", True),
    (b'"text"', True),
    (b'{"id":"a0","body":1,"lane":"a","sent_at_ms":1,"added":"by another version"}', True),
    (b"anything", False),
]


@pytest.mark.parametrize(("stored", "sealed"), UNREADABLE, ids=["no-json", "no-object", "another-version", "damaged"])
def test_a_message_that_cannot_be_read_is_parked_with_its_bytes_and_holds_up_its_lane_only(
    environment: Environment, stored: bytes, sealed: bool
) -> None:
    queue = Queue(environment)
    for id in ("a0", "a1", "b0", "c0"):
        queue.send(id[0], id)
    queue.spoil("a0", stored, sealed=sealed)
    assert ids(queue.receive(3)) == ["b0", "c0"]
    assert queue.receive() == []
    (head,) = queue.parked()
    assert (head.lane_digest, head.condition, head.attempts) == (digest("a"), "unreadable", 0)
    assert head.failure.reason.startswith("the stored message cannot be read: ")
    assert head.stored == (stored if sealed else None)
    # It stays parked over a restart, and is found unreadable again where it is let go.
    assert queue.take_over() == ["b0", "c0"] or queue.take_over() == ["c0", "b0"]
    assert len(queue.parked()) == 1
    assert queue.unpark(head)
    assert queue.receive() == []
    (head,) = queue.parked()
    assert queue.drop(head) == 1
    assert ids(queue.receive()) == ["a1"]


@pytest.mark.parametrize("sealed", [True, False])
def test_a_message_behind_and_one_before_an_unreadable_one_come_and_go(environment: Environment, sealed: bool) -> None:
    queue = Queue(environment)
    for id in ("a0", "a1"):
        queue.send("a", id)
    queue.spoil("a1", b"?", sealed=sealed)
    (first,) = queue.receive()
    assert queue.remove(first)
    assert queue.receive() == []
    (head,) = queue.parked()
    queue.send("a", "a2")
    assert queue.drop(head, whole_lane=True) == 2
    assert queue.state(START_MS) == (0, 0, None, [])
    queue.send("a", "a3")
    assert ids(queue.receive()) == ["a3"]


@pytest.mark.parametrize("sealed", [True, False])
def test_a_purge_takes_parked_and_damaged_messages_too(environment: Environment, sealed: bool) -> None:
    queue = Queue(environment)
    for id in ("a0", "a1", "b0", "b1"):
        queue.send(id[0], id)
    queue.spoil("b1", b"?", sealed=sealed)
    assert queue.park(queue.receive(1)[0])
    purged = environment.write(lambda transaction: queues.purge(transaction, QUEUE, through=4, limit=100))
    assert not purged
    assert queue.parked() == []
    assert queue.state(START_MS) == (0, 0, None, [])
    queue.send("a", "a2")
    assert ids(queue.receive()) == ["a2"]


def test_an_unreadable_message_that_a_process_died_with_does_not_keep_the_engine_from_starting(
    environment: Environment,
) -> None:
    queue = Queue(environment)
    queue.send("a", "a0")
    queue.send("b", "b0")
    queue.receive()
    queue.spoil("a0", b"?")
    assert queue.take_over() == ["b0"]
    assert ids(queue.receive_interrupted()) == ["b0"]
    assert queue.receive_interrupted() == []
    assert [head.lane_digest for head in queue.parked()] == [digest("a")]


@dataclass
class Modelled:
    """A message of the model."""

    id: str
    arrival: int
    ready_ms: int
    count: int = 0
    held: bool = False
    interrupted: bool = False
    parked: bool = False


@dataclass
class Model:
    """What a queue is: lanes of messages, of which each lane's first may be received."""

    lanes: dict[str, list[Modelled]] = field(default_factory=lambda: {lane: [] for lane in LANES})

    @property
    def heads(self) -> list[Modelled]:
        return sorted((lane[0] for lane in self.lanes.values() if lane), key=lambda each: (each.ready_ms, each.arrival))

    def valid(self, received: Received) -> Modelled | None:
        head = next((each for each in self.heads if each.id == received.message.id), None)
        if head is None or not head.held:
            return None
        # A receive that was taken back leaves the count as it was: the time tells its receipt from the next one.
        receipt = (received.receive_count, received.visible_until_ms)
        return head if (head.count, head.ready_ms) == receipt else None


class QueueMachine(RuleBasedStateMachine):
    """Whatever is done to a queue, it and the model agree."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.environment = open_store(Path(self._directory.name) / "s", self.clock)
        self.queue = Queue(self.environment)
        self.model = Model()
        self.receipts: list[Received] = []
        self.sent = 0

    @rule(lane=st.sampled_from(LANES), delay_ms=st.sampled_from([0, 0, 0, 50, 500]))
    def send(self, lane: str, delay_ms: int) -> None:
        self.sent += 1
        not_before_ms = self.clock.now_ms + delay_ms if delay_ms else 0
        self.queue.send(lane, f"{lane}{self.sent}", not_before_ms=not_before_ms)
        self.model.lanes[lane].append(Modelled(f"{lane}{self.sent}", self.sent, not_before_ms))

    @rule(limit=st.integers(0, 4), visibility_ms=st.sampled_from([1, 100, 1000]))
    def receive(self, limit: int, visibility_ms: int) -> None:
        now_ms = self.clock.now_ms
        free = [head for head in self.model.heads if not head.interrupted and not head.parked]
        due = [head for head in free if head.ready_ms <= now_ms]
        expected = due[:limit]
        received = self.queue.receive(limit, visibility_ms=visibility_ms)
        assert ids(received) == [each.id for each in expected]
        for each in expected:
            each.count, each.held, each.ready_ms = each.count + 1, True, now_ms + visibility_ms
        assert [each.receive_count for each in received] == [each.count for each in expected]
        self.receipts.extend(received)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        received = self._any_receipt(data)
        if received is None:
            return
        head = self.model.valid(received)
        assert self.queue.remove(received) is (head is not None)
        if head is not None:
            self.model.lanes[head.id[0]].pop(0)

    @rule(data=st.data(), wait_ms=st.sampled_from([0, 1, 100]), counted=st.booleans())
    def release(self, data: st.DataObject, wait_ms: int, counted: bool) -> None:
        received = self._any_receipt(data)
        if received is None:
            return
        head = self.model.valid(received)
        at_ms = self.clock.now_ms + wait_ms
        assert self.queue.release(received, at_ms, counted=counted) is (head is not None)
        if head is not None:
            head.ready_ms, head.held, head.count = at_ms, False, head.count - (not counted)

    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        received = self._any_receipt(data)
        if received is None:
            return
        head = self.model.valid(received)
        assert self.queue.park(received) is (head is not None)
        if head is not None:
            head.held, head.parked = False, True

    @rule(data=st.data(), what=st.sampled_from(["unpark", "drop", "drop whole"]))
    def let_go(self, data: st.DataObject, what: str) -> None:
        parked = self.queue.parked()
        if not parked:
            return
        chosen = data.draw(st.sampled_from(parked))
        lane = self.model.lanes[chosen.lane or ""]
        assert (chosen.message_id, chosen.attempts) == (lane[0].id, lane[0].count)
        if what == "unpark":
            assert self.queue.unpark(chosen)
            lane[0].parked, lane[0].count, lane[0].ready_ms = False, 0, 0
        else:
            assert self.queue.drop(chosen, whole_lane=what != "drop") == (1 if what == "drop" else len(lane))
            del lane[: 1 if what == "drop" else len(lane)]
        assert not self.queue.unpark(chosen)
        assert self.queue.drop(chosen) == 0

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        messages = [each for lane in self.model.lanes.values() for each in lane]
        chosen = data.draw(st.lists(st.sampled_from(messages), max_size=4, unique_by=id)) if messages else []
        expected = set()
        for lane in self.model.lanes.values():
            for each in [each for each in lane if any(each is one for one in chosen)]:
                if not (each.held or each.interrupted or each.parked):
                    expected.add((digest(each.id[0]), each.arrival))
                    lane.remove(each)
        assert self.queue.withdraw({(digest(each.id[0]), each.arrival) for each in chosen}) == expected

    @rule()
    def take_over(self) -> None:
        held = [head for head in self.model.heads if head.held or head.interrupted]
        assert sorted(self.queue.take_over()) == sorted(head.id for head in held)
        for head in held:
            head.ready_ms, head.held, head.interrupted = self.clock.now_ms, False, True

    @rule(visibility_ms=st.sampled_from([1, 100, 1000]))
    def receive_interrupted(self, visibility_ms: int) -> None:
        expected = [head for head in self.model.heads if head.interrupted][:1]
        received = self.queue.receive_interrupted(visibility_ms=visibility_ms)
        assert ids(received) == [head.id for head in expected]
        for head in expected:
            head.count, head.held, head.interrupted = head.count + 1, True, False
            head.ready_ms = self.clock.now_ms + visibility_ms
        self.receipts.extend(received)

    @rule(ms=st.sampled_from([1, 60, 999]))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms=ms)

    @invariant()
    def counts_agree(self) -> None:
        now_ms = self.clock.now_ms
        everything = [each for lane in self.model.lanes.values() for each in lane]
        assert self.queue.state(now_ms) == (
            len(everything),
            sum(each.held and each.ready_ms > now_ms for each in everything),
            min((head.ready_ms for head in self.model.heads if not head.parked), default=None),
            sorted(each.id for each in everything),
        )
        assert sorted(str(head.message_id) for head in self.queue.parked()) == sorted(
            each.id for each in everything if each.parked
        )

    def _any_receipt(self, data: st.DataObject) -> Any:
        return data.draw(st.sampled_from(self.receipts)) if self.receipts else None

    def teardown(self) -> None:
        self.environment.close()
        self._directory.cleanup()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=40, stateful_step_count=40, suppress_health_check=list(HealthCheck))
