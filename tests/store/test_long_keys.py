"""Keys longer than LMDB's, beside short ones: the same as a sorted dict, whatever their lengths and prefixes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from afterwrite.store import long_keys
from afterwrite.store.environment import Environment
from afterwrite.store.long_keys import KEY_BYTES_MAX

# Keys that share long prefixes and end on either side of every cut.
KEYS = st.builds(
    lambda head, fill, length, tail: (head + fill * length)[: len(head) + length] + tail,
    st.sampled_from([b"a", b"b", b"a\x00", b"a\xff"]),
    st.sampled_from([b"x", b"\x00", b"\xff"]),
    st.sampled_from([0, 3, KEY_BYTES_MAX - 3, KEY_BYTES_MAX - 2, KEY_BYTES_MAX - 1, KEY_BYTES_MAX, 1013, 1014, 1600]),
    st.sampled_from([b"", b"\x00", b"y", b"\xff\xff"]),
)
STEPS = st.lists(st.tuples(st.booleans(), KEYS), max_size=40)


@settings(max_examples=60)
@given(steps=STEPS, bounds=st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=5))
def test_they_read_as_a_sorted_dict(steps: list[tuple[bool, bytes]], bounds: list[tuple[bytes, bytes]]) -> None:
    expected: dict[bytes, bytes] = {}
    with tempfile.TemporaryDirectory() as directory:
        environment = Environment(Path(directory) / "store")
        try:
            for number, (deletes, key) in enumerate(steps):
                value = str(number).encode()
                if deletes:
                    found = environment.write(lambda t, key=key: long_keys.delete(t, "items", key))  # type: ignore[misc]
                    assert found == (expected.pop(key, None) is not None)
                else:
                    environment.write(lambda t, key=key, value=value: long_keys.put(t, "items", key, value))  # type: ignore[misc]
                    expected[key] = value
            with environment.read() as transaction:
                for _, key in steps:
                    assert long_keys.get(transaction, "items", key) == expected.get(key)
                for low, high in [*bounds, (b"", b"\xff" * 2000)]:
                    within = sorted((key, value) for key, value in expected.items() if low <= key < high)
                    assert list(long_keys.scan(transaction, "items", low, high)) == within
                    assert list(long_keys.scan(transaction, "items", low, high, reverse=True)) == within[::-1]
            environment.write(lambda t: long_keys.delete_range(t, "items", b"", b"\xff" * 8))
            with environment.read() as transaction:
                assert list(transaction.scan("items", b"")) == []
                assert list(transaction.scan("key_rests", b"")) == []
        finally:
            environment.close()
