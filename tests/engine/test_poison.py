"""One change on which a route fails, among thousands: the rest goes on, its lane waits whole and is redriven."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from afterwrite import App, Change, Context, Selection, open_engine
from bounds import BOUND_S
from engine_process import wait_until

CHANGES = 3_000
KEYS = 60
EACH = CHANGES // KEYS


def test_one_poisoned_change_holds_up_its_lane_only_and_is_delivered_once_the_route_is_mended(tmp_path: Path) -> None:
    app = App("poison")
    things = app.table("things", partition_key="pk", sort_key="number")
    ran: dict[str, list[str]] = defaultdict(list)
    broken = True

    @app.function(concurrency=8)
    def deliver(request: Any, context: Context) -> None:
        ran[request["pk"]].append(request["number"])

    @things.on()
    def route(change: Change) -> Any:
        pk, number = change.keys["pk"], change.keys["number"]
        if broken and (pk, number) == ("key-30", "000020"):
            raise ValueError("poison")
        return deliver.later(pk=pk, number=number)

    expected = [f"{number:06}" for number in range(EACH)]
    with open_engine(tmp_path / "data", app) as engine:
        engine.table(things).put_many(
            {"pk": f"key-{number % KEYS}", "number": f"{number // KEYS:06}"} for number in range(CHANGES)
        )
        reader = engine.reader()
        wait_until(reader.idle, bound_s=BOUND_S)
        (entry,) = engine.parked().entries(Selection())
        assert (entry.lane, entry.behind) == ("things/key-30", EACH - 21)
        assert {pk for pk, numbers in ran.items() if numbers == expected} == {
            f"key-{number}" for number in range(KEYS) if number != 30
        }
        assert ran["key-30"] == expected[:20]
        # Still broken, it is parked again, and nothing of it is delivered.
        engine.parked().redrive(Selection(lane=entry.lane), limit=1)
        wait_until(lambda: [each.attempts for each in engine.parked().entries(Selection())] == [2])
        assert ran["key-30"] == expected[:20]
        broken = False
        engine.parked().redrive(Selection(raised_by="route"), limit=1)
        wait_until(lambda: list(engine.parked().entries(Selection())) == [] and reader.idle())
        assert ran["key-30"] == expected
        assert sum(map(len, ran.values())) == CHANGES
