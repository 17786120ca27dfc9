"""The demonstration: real orders are points, and the boards are compared with the table.

The engine, the writers and Redis are processes of their own. In the load Redis is flushed once, and killed and started
again without anything once; once the boards are rebuilt from scratch. On request the engine is killed at random
moments, too.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from botocore.config import Config

from afterwrite import open_data
from demonstration import shares
from demonstration.certain_writes import dynamodb_client, local_session
from demonstration.checks import Check
from demonstration.course import Course
from demonstration.redis_process import RedisProcess
from demonstration.server_process import DemoEngine
from demonstration.stage import Display, moments, perform
from leaderboard import app, load, readback
from leaderboard.game import Game, Points
from leaderboard.reconcile import Written, reconcile

WRITERS: Final = 2
THREADS: Final = 8
_CORRECTED_EVERY: Final = 40
_DISQUALIFIED_EVERY: Final = 30
_REBUILT_S_MAX: Final = 300


def run(data: Path, size: int | None, crash: int, json: bool) -> int:
    """Add the points of `size` orders, all by default, in the new directory `data`; 0 if all is reconciled.

    The engine is killed `crash` times. `data` gets the engine's data directory `engine`, the logs, and the writers'
    manifests.
    """
    return perform(data, lambda display: _play(data, size, crash, display), json=json)


def _play(data: Path, size: int | None, crashes: int, display: Display) -> list[Check]:
    total = len(load.orders(size))
    manifests = [data / f"written-{number}.jsonl" for number in range(WRITERS)]
    redis = RedisProcess(data / "redis.log")
    settings = {"LEADERBOARD_REDIS_URL": redis.url}
    engine = DemoEngine(Path(app.__file__), data / "engine", settings)
    course = Course(engine, display, total)
    with ExitStack() as stack:
        stack.callback(redis.kill)
        redis.start()
        stack.callback(engine.kill)
        engine.start()
        display.say(f"The engine listens on {engine.url}, its data is in {data / 'engine'}.")
        view = stack.enter_context(open_data(data / "engine"))
        began = time.monotonic()
        course.load(
            load.write_share,
            course.shares(manifests, app.scores.name, THREADS),
            [
                *course.losses(redis),
                (total // 2, lambda: rebuild(engine.url)),
                *course.crashes(moments(crashes, total)),
            ],
            f"Adding the points of {total} orders",
        )
        client = dynamodb_client(engine.url, threads=1)
        stack.callback(client.close)
        points = [Points(**fields) for fields in shares.read(manifests)]
        written = _correct(Game(client, app.scores.name), points)
        course.settle(view)
        took_s = time.monotonic() - began
        shown = readback.shown(redis.url)
        display.say(f"{rebuild(engine.url)} after the load.")
        found = readback.read(view, shown, readback.shown(redis.url))
        engine.stop()
        display.say(
            f"{len(found.changes)} changes with all that follows in {took_s:.0f} s, "
            f"{len(found.changes) / took_s:.0f} a second. Read the stores back."
        )
        return reconcile(written, found)


def rebuild(endpoint_url: str) -> str:
    """Have the app rebuild its boards; what is told of it."""
    config = Config(read_timeout=_REBUILT_S_MAX, retries={"total_max_attempts": 1})
    client = local_session().client("lambda", endpoint_url=endpoint_url, config=config)
    answer = client.invoke(FunctionName="rebuild")["Payload"].read().decode()
    client.close()
    return f"Had the boards rebuilt from scratch, which answered {answer},"


def _correct(game: Game, points: list[Points]) -> Written:
    """Halve some players' scores, take some away, and add points to every second of those again."""
    added = sorted(points, key=lambda each: (each.player_id, each.day, each.id))
    scores: dict[tuple[str, str], int] = {}
    for each in added:
        place = (each.player_id, each.day)
        scores[place] = scores.get(place, 0) + each.points
    places = list(scores)
    disqualified = places[3::_DISQUALIFIED_EVERY]
    taken = set(disqualified)
    corrected = {
        place: scores[place] // 2 for place in places[1::_CORRECTED_EVERY] if scores[place] > 0 and place not in taken
    }
    again = [Points(f"again-{number:05d}", *place, 999) for number, place in enumerate(disqualified[::2])]
    for (player, day), score in corrected.items():
        game.correct(player, day, score)
    for player, day in disqualified:
        game.disqualify(player, day)
    for each in again:
        game.add(each)
    return Written(points, corrected, disqualified, again)
