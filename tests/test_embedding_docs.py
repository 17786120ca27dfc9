"""docs/embedding.md names everything there is to look at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from afterwrite import App, Change, Effect, open_engine
from afterwrite.inspection import DataReader
from afterwrite.testing import settle

DOCS = (Path(__file__).resolve().parent.parent / "docs" / "embedding.md").read_text()


@pytest.mark.parametrize("name", [each for each in vars(DataReader) if not each.startswith("_") and each != "close"])
def test_everything_to_look_at_is_named(name: str) -> None:
    assert re.search(rf"`{name}\(", DOCS)


def test_a_delivery_stream_s_rows_are_those_of_its_files(tmp_path: Path) -> None:
    app = App("shop")
    things = app.table("things", partition_key="pk")
    facts = app.delivery_stream("facts", buffer_seconds=0)

    @things.on()
    def keep(change: Change) -> Effect:
        return facts.put(n=1)

    with open_engine(tmp_path / "data", app) as engine:
        for number in range(3):
            engine.table("things").put({"pk": str(number)})
        settle(engine)
        rows = list(engine.reader().lake_records("facts"))
    assert [row["n"] for row in rows] == [1, 1, 1]
    assert len({row["id"] for row in rows}) == 3
