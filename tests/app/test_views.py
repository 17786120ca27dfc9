"""Views of tables: what a cache and an index are to show after each change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from afterwrite import App, DeclarationError, prefix
from afterwrite.core.effects import Index, Show
from afterwrite.testing.playbook import Playbook, delete, nothing, put


def declared() -> tuple[App, Any, Any]:
    app = App("shop")
    talks = app.table("talks", partition_key="PK", sort_key="SK")
    cache = app.cache("shop", url="redis://127.0.0.1")
    index = app.search_index("talks")

    @cache.view(talks)
    def show(item: Mapping[str, Any]) -> Mapping[str, str]:
        return {f"at:{item['place']}": item["PK"]} if "place" in item else {}

    @index.documents(talks, sort_key=prefix("SUMMARY#"))
    def document(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return {"text": item["text"]} if "text" in item else None

    return app, talks, index


def effects_of(app: App, table: Any, *writes: Any) -> list[Any]:
    """What the routes ask for, without the versions, which are the changes' own."""
    from afterwrite.core.changes import Change

    found = []
    for old, new in writes:
        image = new or old
        change = Change(
            id="c",
            table=table.name,
            event_name="INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
            keys={name: {"S": image[name]} for name in ("PK", "SK")},
            old_image=None if old is None else {name: {"S": value} for name, value in old.items()},
            new_image=None if new is None else {name: {"S": value} for name, value in new.items()},
            sequence_number="12",
            created_at_us=0,
        )
        found += [stamped.effect for stamped in table.router().plan(change, "lane")]
    return found


META = {"PK": "a", "SK": "META"}
SUMMARY = {"PK": "a", "SK": "SUMMARY#1"}


def test_a_view_shows_the_new_keys_and_removes_those_that_only_the_old_item_had() -> None:
    app, talks, _ = declared()
    here, there = {**META, "place": "here"}, {**META, "place": "there"}
    assert effects_of(app, talks, (None, META), (None, here), (here, there), (there, META), (there, None)) == [
        Show("shop", "talks/a/META", "12", {"at:here": "a"}),
        Show("shop", "talks/a/META", "12", {"at:there": "a"}, ("at:here",)),
        Show("shop", "talks/a/META", "12", {}, ("at:there",)),
        Show("shop", "talks/a/META", "12", {}, ("at:there",)),
    ]


def test_a_document_is_put_in_changed_and_taken_out() -> None:
    app, talks, index = declared()
    one = {**SUMMARY, "text": "one"}
    id = "talks/a/SUMMARY#1"
    assert effects_of(app, talks, (None, {**META, "text": "no"}), (None, one), (one, SUMMARY), (one, None)) == [
        Index("talks", id, "12", {"text": "one"}),
        Index("talks", id, "12", None),
        Index("talks", id, "12", None),
    ]
    (filled,) = index.tables
    assert filled.indexes(one) == Index("talks", id, "0", {"text": "one"})
    assert filled.indexes({**META, "text": "no"}) is None


def test_the_playbook_knows_these_effects() -> None:
    app, talks, _ = declared()
    playbook = Playbook(app)
    assert playbook >> put(talks, PK="a", SK="META") << nothing >> delete(talks, PK="a", SK="META") << nothing


def test_a_view_needs_both_images() -> None:
    app = App("shop")
    keys_only = app.table("talks", partition_key="PK", view_type="NEW_IMAGE")
    for declare in (app.cache("shop", url="redis://x").view, app.search_index("talks").documents):
        with pytest.raises(DeclarationError, match="expected the table talks with both images"):
            declare(keys_only)
