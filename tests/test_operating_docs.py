"""What docs/operating.md says of changing an app holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from afterwrite import App, Change, Effect, open_engine
from afterwrite.testing import settle

DOCS = (Path(__file__).resolve().parent.parent / "docs" / "operating.md").read_text()


def shop(*names: str) -> App:
    """An app with a route by each name, which tells the queue `told` of every change."""
    app = App("shop")
    orders = app.table("orders", partition_key="PK", sort_key="SK")
    told = app.queue("told")

    def route(name: str) -> Any:
        def tell(change: Change) -> Effect:
            return told.send(f"{name} {change.event_name} {change.keys['PK']}")

        tell.__name__ = name
        return tell

    for name in names:
        orders.on()(route(name))
    return app


def run(data: Path, app: App, *keys: str, touch: Any = None) -> list[str]:
    """What the routes have told the queue since the engine ran last, with writes of items with these keys."""
    with open_engine(data) as engine:
        before = {each.id for each in engine.reader().messages("told")}
    with open_engine(data, app) as engine:
        engine.table("orders").put_many([{"PK": key, "SK": "META"} for key in keys])
        if touch is not None:
            touch(engine, app.tables[0])
        settle(engine)
        return sorted(each.body for each in engine.reader().messages("told") if each.id not in before)


def test_a_first_route_runs_on_what_is_kept_and_a_new_one_on_what_comes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with open_engine(data, shop()) as engine:
        engine.table("orders").put_many([{"PK": "a", "SK": "META"}])
    assert run(data, shop("first")) == ["first INSERT a"]
    assert run(data, shop("first", "second"), "b") == ["first INSERT b", "second INSERT b"]
    assert run(data, shop("renamed", "second"), "c") == ["renamed INSERT c", "second INSERT c"]


def test_the_routes_run_on_every_item_that_is_written_once_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with open_engine(data, shop("first")) as engine:
        engine.table("orders").put_many([{"PK": key, "SK": "META"} for key in ("a", "b")])
        settle(engine)
    names: dict[str, Any] = {}
    (code,) = (each for each in re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL) if "touch_all" in each)
    exec(code, names)
    told = run(data, shop("first", "second"), touch=names["touch_all"])
    assert told == ["first MODIFY a", "first MODIFY b", "second MODIFY a", "second MODIFY b"]
