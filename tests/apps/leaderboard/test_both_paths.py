"""Leaderboard by DynamoDB Streams and by Kinesis, whose records come twice and in disorder: the same boards."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from afterwrite.app import StreamKind
from both_paths import running, settle
from demonstration.certain_writes import dynamodb_client
from demonstration.redis_process import RedisProcess
from leaderboard import app, load, readback
from leaderboard.boards import Boards
from leaderboard.game import Game, Points
from leaderboard.reconcile import Shown, Written, reconcile

ORDERS = 150
PLAYERS = 8


def play(data: Path, redis_url: str, stream: StreamKind) -> Shown:
    """Points of real orders, few players; what the boards show. Every equation of the demonstration holds."""
    with running(app.app, app.scores, data, stream) as (engine, disorder):
        host, port = engine.address
        with closing(dynamodb_client(f"http://{host}:{port}", threads=1)) as client:
            game = Game(client, app.scores.name)
            points: list[Points] = []
            for number, order in enumerate(load.orders(ORDERS)):
                player = f"player-{number % PLAYERS}"
                made = Points(f"order-{order.number:05d}", player, order.day.isoformat()[:7], order.cents)
                game.add(made)
                points.append(made)
            places = sorted({(each.player_id, each.day) for each in points})
            corrected, disqualified = dict.fromkeys(places[1::5], 7), places[::7]
            for (player, day), score in corrected.items():
                game.correct(player, day, score)
            for player, day in disqualified:
                game.disqualify(player, day)
            again = [
                replace(points[0], id=f"again-{n}", player_id=p, day=d) for n, (p, d) in enumerate(disqualified[::2])
            ]
            for each in again:
                game.add(each)
        settle(engine, disorder)
        shown = readback.shown(redis_url)
        found = readback.read(engine.reader(), shown, shown)
    for each_disorder in disorder:
        assert each_disorder.carried == len(found.changes)
        assert min(each_disorder.repeated, each_disorder.moved) > 20
    checks = reconcile(Written(points, corrected, disqualified, again), found)
    assert [check for check in checks if not check.ok] == []
    return shown


def test_the_boards_are_the_same_by_both_streams(
    redis_server: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S26: records may come twice and out of order.
    monkeypatch.setattr(app, "BOARDS", Boards(redis_server.url))
    by_streams = play(tmp_path / "by-streams", redis_server.url, "dynamodb")
    redis_server.flush()
    by_kinesis = play(tmp_path / "by-kinesis", redis_server.url, "kinesis")
    assert by_kinesis == by_streams
    assert by_streams.best
