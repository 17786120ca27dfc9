"""What an audit log keeps of a change: both images as they are stored, who, and when."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite import App
from afterwrite.core import json_text
from afterwrite.core.changes import TTL_IDENTITY, Change, audit_entry
from afterwrite.core.effects import Append
from afterwrite.core.privacy import MaskedChange

IMAGE = {"pk": {"S": "p"}, "phone": {"S": "1"}}


def change(**fields: Any) -> Change:
    made = {"event_name": "MODIFY", "keys": b'{"pk":{"S":"p"}}', "created_at_us": 1_760_000_000_123_456, **fields}
    return Change(id="c", table="things", sequence_number="7", **made)


def test_an_entry_says_who_changed_what_and_how() -> None:
    made = change(event_name="REMOVE", old_image=b'{"pk":{"S":"p"}}', user_identity=TTL_IDENTITY)
    assert audit_entry(made) == {
        "event_id": "c",
        "event_name": "REMOVE",
        "table": "things",
        "keys": {"pk": {"S": "p"}},
        "before": {"pk": {"S": "p"}},
        "after": None,
        "by": TTL_IDENTITY,
        "sequence_number": "7",
        "at_ms": 1_760_000_000_123,
    }
    assert audit_entry(change()).value["by"] is None


def test_an_image_goes_in_as_the_text_it_is_whether_or_not_it_was_read() -> None:
    text = b'{"b":{"S":"\\u0041"},"a":{"N":"1"}}'
    made = change(old_image=text, new_image=text)
    for _ in range(2):
        assert audit_entry(made).text.endswith(b',"before":' + text + b',"after":' + text + b"}")
        assert made.new is not None


def test_an_image_that_came_parsed_is_the_same_entry() -> None:
    text = json_text.dumps(IMAGE)
    parsed = change(keys={"pk": {"S": "p"}}, old_image=IMAGE, new_image=IMAGE)
    assert audit_entry(parsed).text == audit_entry(change(old_image=text, new_image=text)).text


def test_what_is_private_is_masked() -> None:
    shown = MaskedChange(change(new_image=json_text.dumps(IMAGE)), [("phone",)])
    assert audit_entry(shown).value["after"] == {**IMAGE, "phone": {"S": "***"}}


def test_text_that_json_has_to_escape_is_whole() -> None:
    odd = '"\\\n\u2028'
    made = change(keys={"pk": {"S": odd}}, new_image={"pk": {"S": odd}})
    entry = json_text.loads(json_text.dumps(audit_entry(made)))
    assert (entry["keys"], entry["after"]) == ({"pk": {"S": odd}}, {"pk": {"S": odd}})


def test_an_audit_log_appends_it() -> None:
    log = App("app").audit_log("trail")
    made = change(new_image=IMAGE)
    assert log.record(made) == Append("trail", audit_entry(made))


def test_what_is_no_change_is_refused() -> None:
    image: Any = IMAGE
    with pytest.raises(TypeError, match="expected the change that a route is called with, got dict"):
        App("app").audit_log("trail").record(image)


@pytest.mark.parametrize("fields", [{}, {"b": 2}])
def test_records_and_entries_are_mappings_fields_or_both(fields: dict[str, int]) -> None:
    app = App("app")
    given = {"self": 1}
    record, entry = app.delivery_stream("facts").put(given, **fields), app.audit_log("trail").append(given, **fields)
    given["self"] = 2  # what a route does to its own mapping later is its own affair
    assert record.record == entry.entry == {"self": 1, **fields}
