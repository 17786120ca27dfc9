"""The demonstration's system: it refuses what is not signed, and applies each key once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

from demonstration import inbox
from demonstration.inbox import Inbox
from profiles.system import is_signed


def test_a_signature_is_of_the_body_the_time_and_the_id() -> None:
    body = b'{"a": 1}'
    digest = hmac.new(b"secret", b"id.5." + body, hashlib.sha256).digest()
    given = f"v1,{base64.b64encode(digest).decode()}"
    assert is_signed("secret", "id", "5", body, given)
    for changed in (("else", "id", "5", body), ("secret", "ie", "5", body), ("secret", "id", "6", body)):
        assert not is_signed(*changed, given)
    assert not is_signed("secret", "id", "5", body + b" ", given)


def test_what_follows_from_a_key_happens_once_and_every_arrival_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    box, done = Inbox(path), list[str]()
    assert box.take("k1", "C-1", "a", lambda _: done.append("a"))
    assert not box.take("k1", "C-1", "a", lambda _: done.append("again"))
    assert box.take("k2", "C-1", json.dumps("b"), lambda _: done.append("b"))
    assert done == ["a", "b"]
    arrivals = inbox.deliveries(path)
    assert [each.key for each in arrivals] == ["k1", "k1", "k2"]
    first, repeated = inbox.once(arrivals)
    assert ([each.key for each in first], [each.key for each in repeated]) == (["k1", "k2"], ["k1"])
    assert inbox.unlike(arrivals) == []
    box.take("k2", "C-2", json.dumps("b"))
    assert [each.recipient for each in inbox.unlike(inbox.deliveries(path))] == ["C-2"]
    assert inbox.count(path) == 4
    box.close()
