"""Views of tables: what a cache and an index are to show after each change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from afterwrite import App, Change, DeclarationError, prefix
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


def test_an_embedded_index_is_not_told_of_a_change_that_leaves_the_document_as_it_was() -> None:
    app, talks, _ = declared()
    one, two = {**SUMMARY, "text": "one"}, {**SUMMARY, "text": "two"}
    id = "talks/a/SUMMARY#1"
    kept, lost = {**one, "ttl": "1"}, {**SUMMARY, "ttl": "1"}
    assert effects_of(app, talks, (one, kept), (SUMMARY, lost), (kept, {**two, "ttl": "1"}), (kept, lost)) == [
        Index("talks", id, "12", {"text": "two"}),
        Index("talks", id, "12", None),
    ]


def test_a_value_of_another_type_is_another_document() -> None:
    app = App("shop")
    talks = app.table("talks", partition_key="PK")

    @app.search_index("talks").documents(talks)
    def document(item: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"open": item["open"]}

    def told(old: dict[str, Any] | None, new: dict[str, Any]) -> list[Any]:
        keys = {"PK": {"S": "a"}}
        images = [None if value is None else {**keys, "open": value} for value in (old, new)]
        change = Change(
            id="c",
            table="talks",
            event_name="MODIFY",
            keys=keys,
            old_image=images[0],
            new_image=images[1],
            sequence_number="12",
        )
        return [stamped.effect for stamped in talks.router().plan(change, "lane")]

    assert told({"BOOL": True}, {"BOOL": True}) == []
    assert told({"BOOL": True}, {"N": "1"}) == [Index("talks", "talks/a", "12", {"open": Decimal(1)})]
    # The old image of a forgotten item is gone.
    assert told(None, {"BOOL": True}) == [Index("talks", "talks/a", "12", {"open": True})]


def test_an_old_item_that_the_function_cannot_read_has_no_document_yet() -> None:
    app = App("shop")
    talks = app.table("talks", partition_key="PK", sort_key="SK")

    @app.search_index("talks").documents(talks)
    def document(item: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"text": item["text"]}

    assert effects_of(app, talks, (META, {**META, "text": "one"})) == [
        Index("talks", "talks/a/META", "12", {"text": "one"})
    ]


def test_opensearch_which_nobody_fills_is_told_of_every_change_of_an_item_with_a_document() -> None:
    app = App("shop")
    talks = app.table("talks", partition_key="PK", sort_key="SK")

    @app.search_index("talks", url="http://127.0.0.1:9200").documents(talks)
    def document(item: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"text": item["text"]}

    one = {**SUMMARY, "text": "one"}
    assert effects_of(app, talks, (one, {**one, "ttl": "1"})) == [
        Index("talks", "talks/a/SUMMARY#1", "12", {"text": "one"})
    ]


def test_a_removal_that_has_its_keys_alone_takes_the_document_out() -> None:
    _, talks, _ = declared()
    keys = {name: {"S": value} for name, value in SUMMARY.items()}
    change = Change(id="c", table="talks", event_name="REMOVE", keys=keys, sequence_number="12")
    assert [stamped.effect for stamped in talks.router().plan(change, "lane")] == [
        Index("talks", "talks/a/SUMMARY#1", "12", None)
    ]


def test_views_see_a_mask_in_place_of_private_attributes_in_changes_and_when_they_are_filled() -> None:
    app = App("club")
    members = app.table("members", partition_key="PK", sort_key="SK", private=("email", "home.street"))
    cache, index = app.cache("club", url="redis://127.0.0.1"), app.search_index("members")
    seen: list[Any] = []

    @cache.view(members)
    def show(item: Mapping[str, Any]) -> Mapping[str, str]:
        seen.append(item)
        return {f"member:{item['PK']}": f"{item['email']} {item['name']}"}

    @index.documents(members)
    def document(item: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.append(item)
        return {"email": item["email"], "name": item["name"]}

    @members.on()
    def on_purpose(change: Any) -> Any:
        new = change.clear.new
        return cache.show(f"mail/{new['PK']}", {f"mail:{new['PK']}": new["email"]}, version=change.version)

    ada = {"PK": "m-1", "SK": "META", "email": "ada@example.org", "name": "Ada"}
    shown = Show("club", "members/m-1/META", "12", {"member:m-1": "*** Ada"})
    found = Index("members", "members/m-1/META", "12", {"email": "***", "name": "Ada"})
    asked_on_purpose = Show("club", "mail/m-1", "12", {"mail:m-1": "ada@example.org"})
    assert effects_of(app, members, (None, ada)) == [shown, found, asked_on_purpose]
    read = {**ada, "home": {"street": "1 Main St", "city": "Rome"}}
    assert cache.views[0].shows(read) == replace(shown, version="0")
    assert index.tables[0].indexes(read) == replace(found, version="0")
    assert [item["home"] for item in seen if "home" in item] == [{"street": "***", "city": "Rome"}] * 2


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


def test_what_is_filled_from_the_table_shows_no_private_values_either() -> None:
    app = App("club")
    members = app.table("members", partition_key="PK", private=["email", "profile.phone"])
    cache, index = app.cache("club", url="redis://127.0.0.1"), app.search_index("members")

    @cache.view(members)
    def show(item: Mapping[str, Any]) -> Mapping[str, str]:
        return {item["PK"]: f"{item['email']} {item['profile']['phone']}"}

    @index.documents(members)
    def document(item: Mapping[str, Any]) -> Mapping[str, Any]:
        return dict(item)

    item = {"PK": "a", "email": "ann@example.org", "profile": {"phone": "+1", "town": "Rome"}, "n": Decimal("1.50")}
    shown, indexed = cache.views[0].shows(item), index.tables[0].indexes(item)
    assert shown == Show("club", "members/a", "0", {"a": "*** ***"}, ())
    masked = {**item, "email": "***", "profile": {"phone": "***", "town": "Rome"}}
    assert indexed == Index("members", "members/a", "0", masked)
