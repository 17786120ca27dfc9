"""Scores over the wire: points once each, versions that rise whatever happens to a score."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from leaderboard.app import scores
from leaderboard.game import Game, Points
from losing_client import LosingClient

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    tables = App("tables-only")
    tables.table(scores.name, partition_key="playerId", sort_key="day")
    with Engine(tables, Settings(tmp_path / "data")) as engine:
        yield engine


@pytest.fixture
def game(dynamodb_client: DynamoDBClient) -> Game:
    return Game(dynamodb_client, scores.name)


def points(number: int, of: int = 10) -> Points:
    return Points(f"o{number}", "ann", "d1", of)


def stored(engine: Engine) -> dict[str, Any]:
    item = engine.table(scores).get({"playerId": "ann", "day": "d1"})
    assert item is not None
    return item


def test_points_of_many_writers_add_up(game: Game, engine: Engine) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: game.add(points(number)), range(40)))
    versions = [int(change.new["version"]) for change in engine.reader().changes(scores.name) if change.new]
    assert stored(engine)["score"] == 400
    assert versions == list(range(versions[0], versions[0] + 40))


def test_points_whose_answer_was_lost_count_once(engine: Engine, dynamodb_client: Any) -> None:
    losing = LosingClient(dynamodb_client)
    Game(losing, scores.name).add(points(1))  # type: ignore[arg-type]
    assert (len(losing.lost), stored(engine)["score"]) == (1, 10)


def test_versions_go_on_rising_over_a_correction_and_a_removal(game: Game, engine: Engine) -> None:
    game.add(points(1))
    first = stored(engine)["version"]
    game.correct("ann", "d1", 4)
    assert (stored(engine)["score"], stored(engine)["version"]) == (4, first + 1)
    game.disqualify("ann", "d1")
    game.add(points(2, of=3))
    assert stored(engine)["score"] == 3
    assert stored(engine)["version"] > first + 2
