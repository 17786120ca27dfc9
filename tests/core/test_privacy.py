"""Private attributes are masked in what a route sees, and nowhere to be had but in `change.clear`."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite import App, Change
from afterwrite.app import DeliveryStream, Table
from afterwrite.core import json_text
from afterwrite.core.changes import REMOVE
from afterwrite.core.effects import Deliver, StampedEffect
from afterwrite.core.pipes import Origin
from afterwrite.core.privacy import MASK, MaskedChange, compile_paths, masked
from afterwrite.core.values import encode_item
from afterwrite.errors import DeclarationError

ITEM = {
    "PK": "u-1",
    "email": "ada@example.org",
    "profile": {"phone": "555-0101", "city": "London"},
    "cards": [{"number": "4111", "kind": "visa"}, {"number": "5500", "kind": "mc"}],
    "visits": 3,
}
PRIVATE = ("email", "profile.phone", "cards.number", "visits.last", "absent.too")


def change(new: dict[str, Any] | None = None, old: dict[str, Any] | None = None, name: str = "MODIFY") -> Change:
    return Change(
        id="1",
        table="users",
        event_name=name,
        keys=encode_item({"PK": "u-1"}),
        new_image=None if new is None else encode_item(new),
        old_image=None if old is None else encode_item(old),
    )


def declared() -> tuple[Table, DeliveryStream]:
    app = App("shop")
    return app.table("users", partition_key="PK", private=PRIVATE), app.delivery_stream("lake")


def record_of(planned: StampedEffect) -> Any:
    assert isinstance(planned.effect, Deliver)
    return planned.effect.record


def test_paths_lead_into_maps_and_through_lists_and_what_is_beside_them_stays() -> None:
    shown = masked(encode_item(ITEM), compile_paths("users", PRIVATE, ["PK"]))
    assert shown["email"] == {"S": MASK}
    assert shown["profile"] == {"M": {"phone": {"S": MASK}, "city": {"S": "London"}}}
    assert [each["M"] for each in shown["cards"]["L"]] == [
        {"number": {"S": MASK}, "kind": {"S": "visa"}},
        {"number": {"S": MASK}, "kind": {"S": "mc"}},
    ]
    assert shown["visits"] == {"S": MASK}, "the path would lead on into what is no map"
    assert "absent" not in shown


def test_a_route_sees_masks_and_asks_for_what_it_needs() -> None:
    users, lake = declared()
    seen: list[Change] = []

    @users.on("MODIFY", changed="email", new={"email": "ada@example.org"})
    def keep(each: Change) -> Any:
        seen.append(each)
        assert each.new is not None
        assert each.clear.new is not None
        return lake.put(shown=each.new["email"], image=each.new_image, needed=each.clear.new["email"])

    (planned,) = users.router().plan(change(ITEM, {**ITEM, "email": "old@example.org"}), "users/u-1")
    record = record_of(planned)
    assert (record["shown"], record["needed"]) == (MASK, "ada@example.org")
    assert record["image"]["email"] == {"S": MASK}
    assert seen[0].changed("email"), "what is masked is compared as it is"
    assert not seen[0].changed("visits")
    assert seen[0].old is not None
    assert seen[0].old["email"] == MASK
    assert "example" not in repr(seen[0])


def test_what_is_written_into_records_is_masked() -> None:
    kept = json_text.dumps(encode_item(ITEM))
    clear = Change(id="1", table="users", event_name="MODIFY", keys={}, new_image=kept, old_image=kept)
    shown = MaskedChange(clear, compile_paths("users", PRIVATE, ("PK",)))
    for image in (shown.new_json, shown.old_json):
        assert image == masked(encode_item(ITEM), compile_paths("users", PRIVATE, ("PK",)))
        assert b"ada@example.org" not in json_text.dumps(image)
    assert {name: shown.before(name) for name in ITEM} == shown.old
    assert {name: shown.after(name) for name in ITEM} == shown.new


def test_a_removed_item_is_masked_and_an_image_that_is_not_there_stays_away() -> None:
    users, lake = declared()

    @users.on()
    def keep(each: Change) -> Any:
        return lake.put(new=each.new, old=each.old)

    (planned,) = users.router().plan(change(None, ITEM, REMOVE), "users/u-1")
    assert record_of(planned)["new"] is None
    assert record_of(planned)["old"]["profile"] == {"phone": MASK, "city": "London"}


def test_a_pipe_passes_masks_on_and_filters_by_what_is_there() -> None:
    users, lake = declared()
    users.pipe(to=lake, filter={"dynamodb": {"NewImage": {"email": {"S": ["ada@example.org"]}}}})
    router = users.router(Origin("us-east-1", "arn:aws:dynamodb:us-east-1:000000000000:table/users/stream/-"))
    (planned,) = router.plan(change(ITEM), "users/u-1")
    assert record_of(planned)["dynamodb"]["NewImage"]["email"] == {"S": MASK}
    assert router.plan(change({**ITEM, "email": "bob@example.org"}), "users/u-1") == []


def test_without_private_attributes_a_route_gets_the_change_itself() -> None:
    app = App("shop")
    users = app.table("users", partition_key="PK")
    seen: list[Change] = []
    users.on()(seen.append)
    given = change(ITEM)
    users.router().plan(given, "users/u-1")
    assert seen[0] is given
    assert given.clear is given


@pytest.mark.parametrize(
    ("private", "said"),
    [
        ("email", r"expected private=\('email',\)"),
        (("profile.",), "expected names joined by dots"),
        (("",), "expected names joined by dots"),
        (("PK",), "expected private attributes that are no keys"),
        (("SK.part",), "expected private attributes that are no keys"),
    ],
)
def test_what_cannot_be_private_is_refused(private: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        App("shop").table("users", partition_key="PK", sort_key="SK", private=private)
