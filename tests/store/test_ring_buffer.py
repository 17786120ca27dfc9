"""A ring buffer between two processes: pieces come out as they went in, in order, and never over one another."""

from __future__ import annotations

import os
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from afterwrite.store.ring_buffer import Piece, RingBuffer


def read(ring: RingBuffer, piece: Piece) -> bytes:
    with ring.read(piece) as content:
        return bytes(content)


@settings(max_examples=300)
@given(
    size=st.integers(1, 64),
    steps=st.lists(st.one_of(st.integers(1, 70), st.just("read")), max_size=80),
)
def test_what_is_written_is_read_and_is_refused_only_where_it_does_not_fit(size: int, steps: list[int | str]) -> None:
    ring = RingBuffer(size)
    unread: deque[tuple[Piece, bytes]] = deque()
    for number, step in enumerate(steps):
        if step == "read":
            if unread:
                piece, content = unread.popleft()
                assert read(ring, piece) == content
            continue
        assert isinstance(step, int)
        content = bytes([number]) * step
        if (written := ring.write(content)) is not None:
            unread.append((written, content))
        else:
            assert step > size or unread, "an empty ring has room for all that it can hold"
            # What went on at the start has left less room at the end than it takes.
            waiting = [len(content) for _, content in unread]
            assert sum(waiting) + step + max([step, *waiting]) > size
    for piece, content in unread:
        assert read(ring, piece) == content


def test_what_is_read_soon_stays_at_the_front() -> None:
    ring = RingBuffer(1000)
    for _ in range(100):
        piece = ring.write(b"x" * 300)
        assert piece is not None and piece.at == 0
        read(ring, piece)


def test_a_piece_whose_reader_fails_leaves_its_room() -> None:
    ring = RingBuffer(10)
    piece = ring.write(b"x" * 10)
    assert piece is not None and ring.write(b"y") is None
    try:
        with ring.read(piece):
            raise ValueError
    except ValueError:
        pass
    assert ring.write(b"y" * 10) is not None


def test_a_forked_process_reads_what_the_other_writes() -> None:
    ring = RingBuffer(200)
    told, tell = os.pipe()
    done, end = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            for _ in range(50):
                number, at, size = os.read(told, 3)
                assert read(ring, Piece(number, at, size)) == bytes([number]) * size
                os.write(end, b"!")
            status = 0
        finally:
            os._exit(status)
    os.close(end)  # so that a child that has ended is heard of
    for number in range(1, 51):
        piece = ring.write(bytes([number]) * (number % 40 + 1))
        assert piece is not None
        os.write(tell, bytes(piece))
        if number > 1:  # one is always on its way
            assert os.read(done, 1) == b"!"
    assert os.waitpid(child, 0)[1] == 0
    for descriptor in (told, tell, done):
        os.close(descriptor)
