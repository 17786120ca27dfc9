"""The same requests in two stores: in one the library in C carries out what it takes, in the other Python does all.

Of each commit are compared the answers and errors, what goes into the journal, and who is woken; and at the end
everything that is stored.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import orjson

from afterwrite.config import Identity
from afterwrite.core.values import Item
from afterwrite.errors import CorruptData, ServiceError
from afterwrite.store import items, journal, openings, plain_batches
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.operations import Operations
from afterwrite.store.plain_batches import PlainBatch
from afterwrite.store.plain_writes import PlainWrites
from afterwrite.store.prepared import Write
from afterwrite.store.transactions import DATABASES
from embedded import Clock, Dynamo, open_store
from store.write_requests import Request

VIEWS: Final = {
    "both": "NEW_AND_OLD_IMAGES",
    "new": "NEW_IMAGE",
    "old": "OLD_IMAGE",
    "keys": "KEYS_ONLY",
    "none": None,
}
# `struct request` of front.h, and `struct asked`.
REQUEST: Final = struct.Struct("@IIIIIIQ")
ASKED: Final = struct.Struct("@III")
GENERATION: Final = 7
KEEP_ALIVE: Final = 1
_META: Final = DATABASES.index("meta")
# What each store has for itself, and the number of its commits, which is counted after the journal is looked at.
_OF_THE_STORE: Final = {(_META, b"opening"), (_META, openings.COMMITS.encode())}

Place: TypeAlias = tuple[int, bytes]
Answer: TypeAlias = tuple[str, ...]
Meanwhile: TypeAlias = Callable[[WriteTransaction], object]
T = TypeVar("T")

OPERATIONS: Final = Operations(Identity())
DONE: Final[Answer] = ("", "{}")


class Requested:
    """Requests in memory, as the front gives them. A request's slot is its place among them."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._packed = [self._pack(slot, request) for slot, request in enumerate(requests)]
        together = b"".join(self._packed)
        self._room = ctypes.create_string_buffer(together, len(together))
        self.size = len(together)

    @staticmethod
    def _pack(slot: int, request: Request) -> bytes:
        target = b"DynamoDB_20120810." + request.operation.encode()
        head = b"POST / HTTP/1.1\r\nX-Amz-Target: " + target + b"\r\n\r\n"
        flags = slot % 2 * KEEP_ALIVE
        fields = REQUEST.pack(slot, GENERATION, flags, 31, len(target), len(head), len(request.body))
        packed = fields + head + request.body
        return packed + bytes(-len(packed) % 8)

    @property
    def address(self) -> int:
        return ctypes.addressof(self._room)

    def overwrite(self) -> None:
        """Use the memory for something else, as the front does."""
        ctypes.memset(self._room, ord("x"), self.size)

    def left(self, size: int) -> list[int]:
        """The slots of the requests in what is left, each as it was."""
        slots, at = [], 0
        while at < size:
            slot, _, _, _, _, head_bytes, body_bytes = REQUEST.unpack_from(self._room, at)
            packed = self._packed[slot]
            assert len(packed) == REQUEST.size + -(-(head_bytes + body_bytes) // 8) * 8
            assert self._room.raw[at : at + len(packed)] == packed
            slots.append(slot)
            at += len(packed)
        return slots


class Committed(NamedTuple):
    """What a commit journals: places with other contents than before, and those that are written as they were."""

    changed: Mapping[Place, bytes | None]
    unchanged: set[Place]
    touched: set[str]


class Outcome(NamedTuple):
    """What became of requests: their answers, which were taken out of them, and which of these the library wrote."""

    answers: Sequence[Answer]
    taken: Sequence[int]
    written: Sequence[int]


class Store:
    """A store with its tables, and what its journal leads to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.environment = filled(path, self.clock)
        self._replayed = sealed_contents(self.environment)

    def commit(self, operation: Callable[[WriteTransaction], T]) -> tuple[T, Committed]:
        """Run an operation as a commit."""
        kept: list[tuple[bytes, set[str]]] = []

        def run(transaction: WriteTransaction) -> T:
            result = operation(transaction)
            transaction.complete()
            kept.append((b"".join(transaction.entries), set(transaction.touched)))
            return result

        result = self.environment.write(run)
        ((journaled, touched),) = kept
        return result, self._follow(journaled, touched)

    def _follow(self, journaled: bytes, touched: set[str]) -> Committed:
        effect = {(entry.database, entry.key): entry.stored for entry in journal.entries(journaled)}
        changed = {place: stored for place, stored in effect.items() if self._replayed.get(place) != stored}
        # Where something was put and deleted again, the journal may say so or not.
        unchanged = {place for place, stored in effect.items() if place not in changed and stored is not None}
        for place, stored in changed.items():
            if stored is None:
                del self._replayed[place]
            else:
                self._replayed[place] = stored
        # A counter that ends where it began may be written again or not.
        return Committed(changed, {place for place in unchanged if place[0] != _META}, touched)

    def damage(self, table: str, key: Item) -> None:
        """Flip a bit of the item that is stored there."""
        database = self.environment.databases["items"]
        place = items.place_of(self.environment.state["catalog"][table], key)
        damaged = bytearray(self._replayed[database.number, place])
        damaged[20] ^= 1
        self._replayed[database.number, place] = bytes(damaged)
        with self.environment.lmdb.begin(write=True) as transaction:
            transaction.put(place, bytes(damaged), db=database.handle)

    def check_journal(self) -> None:
        """What was journaled since the beginning makes what is stored."""
        assert without_own(sealed_contents(self.environment)) == without_own(self._replayed)


class TwoWays:
    """Two stores with the same tables; in the first the library in C does what it can."""

    def __init__(self, path: Path) -> None:
        self.quick, self.plain = Store(path / "quick"), Store(path / "plain")
        self.writes = PlainWrites(self.quick.environment)

    def advance(self, ms: int) -> None:
        """Move both clocks."""
        for store in (self.quick, self.plain):
            store.clock.advance(ms=ms)

    def commit(self, *groups: Sequence[Request], meanwhile: Meanwhile = lambda _: None) -> Outcome:
        """Carry out requests as one commit in each store, and compare.

        The requests of a group are taken together, and written before those of the next. All are taken first, then
        `meanwhile` is done in each store. In what becomes of them their numbers go through all groups.
        """
        requests = list(chain(*groups))
        for request in requests:
            self._learn(request)
        (order, outcome), by_library = self.quick.commit(
            lambda transaction: self._carry_out(groups, transaction, meanwhile)
        )

        def one_by_one(transaction: WriteTransaction) -> dict[int, Answer]:
            meanwhile(transaction)
            return {number: carried_out(requests[number], transaction) for number in order}

        expected, by_python = self.plain.commit(one_by_one)
        told = "\n".join(_told(number, requests[number], outcome) for number in order)
        for number in order:
            assert outcome.answers[number] == expected[number], f"request {number} of, in the order of writing:\n{told}"
        assert by_library.changed == by_python.changed, told
        assert by_library.unchanged == by_python.unchanged, told
        assert by_library.touched == by_python.touched, told
        return outcome

    def _learn(self, request: Request) -> None:
        try:
            OPERATIONS.prepare(request.operation, parsed(request.body))
        except ServiceError:
            return
        self.writes.learn(request.operation, parsed(request.body))

    def _carry_out(
        self, groups: Sequence[Sequence[Request]], transaction: WriteTransaction, meanwhile: Meanwhile
    ) -> tuple[list[int], Outcome]:
        """Carry out the groups; in which order that was, and what became of the requests."""
        read = [(requests, *self._take(requests)) for requests in groups]
        meanwhile(transaction)
        order: list[int] = []
        answers: list[Answer] = []
        all_taken: list[int] = []
        all_written: list[int] = []
        for requests, taken, left, batch in read:
            first = len(answers)
            written, returned = self._write(transaction, taken, batch)
            answered = dict.fromkeys(written, DONE)
            answered |= {slot: carried_out(requests[slot], transaction) for slot in (*returned, *left)}
            order += [first + slot for slot in answered]
            answers += [answered[slot] for slot in range(len(requests))]
            all_taken += [first + slot for slot in taken]
            all_written += [first + slot for slot in written]
        return order, Outcome(answers, all_taken, all_written)

    def _take(self, requests: Sequence[Request]) -> tuple[list[int], list[int], PlainBatch | None]:
        """Take what can be taken of the requests: the slots of these, those of the others, and the batch."""
        memory = Requested(requests)
        left_bytes, asked, batch = self.writes.take(memory.address, memory.size)
        left = memory.left(left_bytes)
        taken = [slot for slot, _, _ in ASKED.iter_unpack(asked)]
        expected = ((slot, GENERATION, slot % 2 * KEEP_ALIVE) for slot in taken)
        assert asked == b"".join(ASKED.pack(*each) for each in expected)
        assert sorted((*taken, *left)) == list(range(len(requests)))
        assert taken == sorted(taken)
        assert left == sorted(left)
        memory.overwrite()
        bodies = [(requests[slot].operation, requests[slot].body) for slot in taken]
        found = [] if batch is None else [batch.requests.at(number) for number in range(len(batch.requests))]
        assert found == bodies
        return taken, left, batch

    @staticmethod
    def _write(
        transaction: WriteTransaction, taken: Sequence[int], batch: PlainBatch | None
    ) -> tuple[list[int], list[int]]:
        """Write the batch; the slots of the requests that are written, and of those that are returned to Python."""
        found = () if batch is None else plain_batches.write(transaction, batch)
        numbers: list[int] = list(range(len(taken)) if found is None else found)
        assert numbers == sorted(set(numbers))
        returned = [taken[number] for number in numbers]
        return [slot for slot in taken if slot not in returned], returned

    def finish(self) -> None:
        """Compare all that is stored, and close both."""
        by_library, by_python = (sealed_contents(each.environment) for each in (self.quick, self.plain))
        for own in (by_library, by_python):
            del own[_META, b"opening"]
        assert by_library == by_python
        for store in (self.quick, self.plain):
            store.check_journal()
            store.environment.close()


def _told(number: int, request: Request, outcome: Outcome) -> str:
    how = "written in C" if number in outcome.written else "taken" if number in outcome.taken else "left"
    return f"{number} ({how}): {request.operation} {request.body!r} -> {' '.join(outcome.answers[number])}"


def filled(path: Path, clock: Clock) -> Environment:
    """A store with a table of each view type, with and without a sort key, an index and a time to live."""
    environment = open_store(path, clock)
    dynamo = Dynamo(environment)
    for name, view_type in VIEWS.items():
        dynamo.create(name, view_type=view_type)
    dynamo.create("single", sort_key=None)
    environment.write(lambda transaction: items.set_ttl(transaction, "both", "ttl"))
    for name, kind, index in (("numbers", "N", ()), ("indexed", "S", [_index("t")])):
        sort = [("sk", "S", "RANGE")] if name == "indexed" else []
        attributes = [("pk", kind, "HASH"), *sort]
        indexed = [("t", "S")] if index else []
        dynamo(
            "CreateTable",
            TableName=name,
            KeySchema=[{"AttributeName": each, "KeyType": role} for each, _, role in attributes],
            AttributeDefinitions=[
                {"AttributeName": each, "AttributeType": of}
                for each, of in [*((each, of) for each, of, _ in attributes), *indexed]
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            **({"GlobalSecondaryIndexes": index} if index else {}),
        )
    return environment


def _index(attribute: str) -> dict[str, Any]:
    key = [{"AttributeName": attribute, "KeyType": "HASH"}]
    return {"IndexName": f"by-{attribute}", "KeySchema": key, "Projection": {"ProjectionType": "ALL"}}


def carried_out(request: Request, transaction: WriteTransaction) -> Answer:
    """The answer to a request that Python carries out; an error is its code, message and fields."""
    try:
        write = OPERATIONS.prepare(request.operation, parsed(request.body))
        assert isinstance(write, Write)
        return "", orjson.dumps(write.run(transaction)).decode()
    except ServiceError as error:
        return error.code, error.message, orjson.dumps(error.fields).decode()
    except CorruptData:
        return ("CorruptData",)


def parsed(body: bytes) -> dict[str, Any]:
    """A request's body as the server gives it to an operation. Raises ServiceError."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ServiceError("SerializationException", "no JSON") from None
    if not isinstance(found, dict):
        raise ServiceError("SerializationException", "no structure")
    return found


def sealed_contents(environment: Environment) -> dict[Place, bytes]:
    """All that is stored, with its checksums."""
    return dict(_entries(environment))


def _entries(environment: Environment) -> Iterator[tuple[Place, bytes]]:
    with environment.lmdb.begin() as transaction:
        for number, name in enumerate(DATABASES):
            with transaction.cursor(environment.databases[name].handle) as cursor:
                for key, stored in cursor:
                    yield (number, bytes(key)), bytes(stored)


def without_own(contents: Mapping[Place, bytes]) -> dict[Place, bytes]:
    """Without what the journal that is looked at does not have."""
    return {place: stored for place, stored in contents.items() if place not in _OF_THE_STORE}
