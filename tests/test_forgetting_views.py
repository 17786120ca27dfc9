"""`forget` reaches caches in Redis and indexes in OpenSearch, now or when they can be reached again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from afterwrite import App, Change, open_engine
from afterwrite.cli import main
from afterwrite.errors import CommandError
from afterwrite.forgetting import forget
from afterwrite.targets.opensearch import DELETED
from demonstration.redis_process import RedisProcess
from engine_process import wait_until
from opensearch_double import OpenSearchDouble, serving

ADA, BOB = "SESSION#ada", "SESSION#bob"
SECRET, KEPT = "Ada's secret", "Bob's own"
APP = """
from test_forgetting_views import declared

app = declared({cache!r}, {index!r})
"""


def declared(cache_url: str, index_url: str) -> App:
    """Two views, and a cache and an index that a route writes to itself, under versions of its own."""
    app = App("chat")
    turns = app.table("chat-turns", partition_key="PK", sort_key="SK")
    cache, index = app.cache("chat", url=cache_url), app.search_index("said", url=index_url)

    @cache.view(turns)
    def show(item: Any) -> Any:
        return {f"turn:{item['PK']}:{item['SK']}": item["text"], f"seat:{item['seat']}": item["text"]}

    @index.documents(turns)
    def said(item: Any) -> Any:
        return {"text": item["text"]}

    @turns.on("INSERT", "MODIFY")
    def by_counter(change: Change) -> Any:
        new = change.new or {}
        version, slug = str(new["version"]), str(new["slug"])
        return [
            cache.show(slug, {f"own:{slug}": new["text"]}, version=version),
            index.put(slug, {"text": new["text"]}, version=version),
        ]

    return app


def turn(key: str, text: str, *, seat: str, version: int = 1) -> dict[str, Any]:
    slug = key.removeprefix("SESSION#")
    return {"PK": key, "SK": "TURN#1", "text": text, "seat": seat, "slug": slug, "version": version}


class Stage:
    """An app that has run, its directory, and what stands in Redis and in OpenSearch."""

    def __init__(self, data: Path, process: RedisProcess, double: OpenSearchDouble) -> None:
        self.data, self.process, self.double = data, process, double
        self.app = declared(process.url, double.url)
        self.view: Any = redis.Redis.from_url(process.url, decode_responses=True)

    def run(self, *items: dict[str, Any]) -> None:
        with open_engine(self.data, self.app) as engine:
            for item in items:
                engine.table("chat-turns").put(item)
            wait_until(engine.reader().idle)

    def shown(self) -> dict[str, str]:
        return {key: self.view.get(key) for key in self.view.keys("*") if not key.startswith(("version:", "view:"))}

    def documents(self) -> dict[str, Any]:
        held = {id: document.source or {} for id, document in self.double.indexes.get("said", {}).items()}
        return {id: source["text"] for id, source in held.items() if DELETED not in source}

    def forget(self, *, dry_run: bool = False) -> Any:
        return forget(self.data, ADA, app=self.app, dry_run=dry_run)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Ada first sat where Bob sits now."""
    pytest.importorskip("opensearchpy")
    process = RedisProcess(tmp_path / "redis.log")
    with ExitStack() as closing, serving(OpenSearchDouble()) as double:
        process.start()
        closing.callback(process.kill)
        stage = Stage(tmp_path / "data", process, double)
        closing.callback(stage.view.close)
        stage.run(turn(ADA, f"{SECRET} at first", seat="1"), turn(ADA, SECRET, seat="2", version=2))
        stage.run(turn(BOB, KEPT, seat="1"))
        yield stage


BOBS = {"turn:SESSION#bob:TURN#1": KEPT, "seat:1": KEPT, "own:bob": KEPT}
BOBS_DOCUMENTS = {"chat-turns/SESSION#bob/TURN#1": KEPT, "bob": KEPT}
ADAS = {"turn:SESSION#ada:TURN#1": SECRET, "seat:2": SECRET, "own:ada": SECRET}
ADAS_DOCUMENTS = {"chat-turns/SESSION#ada/TURN#1": SECRET, "ada": SECRET}


def test_what_is_shown_and_found_of_a_person_is_gone_and_stays_so(stage: Stage) -> None:
    assert (stage.shown(), stage.documents()) == (BOBS | ADAS, BOBS_DOCUMENTS | ADAS_DOCUMENTS)
    would = stage.forget(dry_run=True)
    assert stage.shown() == BOBS | ADAS, "nothing is changed"
    done = stage.forget()
    assert (done.left, done.erased) == ([], would.erased)
    assert done.erased["entries of the cache chat"] == 3
    assert done.erased["documents of the search index said"] == 2
    assert (stage.shown(), stage.documents()) == (BOBS, BOBS_DOCUMENTS)
    stage.run()
    assert (stage.shown(), stage.documents()) == (BOBS, BOBS_DOCUMENTS), "the REMOVE puts nothing back"
    stage.run(turn(ADA, "somebody new", seat="3", version=4))
    assert stage.shown()["turn:SESSION#ada:TURN#1"] == stage.shown()["own:ada"] == "somebody new"
    assert stage.documents()["ada"] == "somebody new"


def test_versions_stay_as_tombstones_under_which_nothing_late_comes_back(stage: Stage) -> None:
    shown_under = int(stage.view.get("version:chat-turns/SESSION#ada/TURN#1"))
    stage.forget()
    assert int(stage.view.get("version:chat-turns/SESSION#ada/TURN#1")) > shown_under
    assert 0 < stage.view.pttl("version:chat-turns/SESSION#ada/TURN#1") <= 7 * 86_400_000
    assert stage.view.get("version:ada") == "3", "the app's own counter, and one more"
    assert stage.double.indexes["said"]["ada"].version == 3


def test_what_has_not_been_shown_yet_never_is(stage: Stage) -> None:
    stage.process.kill()
    with open_engine(stage.data, stage.app) as engine:
        engine.table("chat-turns").put(turn(ADA, f"{SECRET}, waiting", seat="9", version=3))
        wait_until(lambda: any(SECRET in str(each.body) for each in engine.reader().messages("function-cache-chat")))
    stage.process.start()
    assert stage.forget().left == []
    stage.run()
    assert not [text for text in stage.shown().values() if SECRET in text]


def test_what_is_away_is_named_and_a_second_run_finishes(stage: Stage) -> None:
    stage.process.kill()
    stage.double.refuse_all = (403, "security_exception")
    assert len(stage.forget(dry_run=True).left) == 1, "OpenSearch is not asked"
    first = stage.forget()
    assert [each.partition(" (")[0] for each in first.left] == [
        "up to 3 entries of the cache chat",
        "up to 2 documents of the search index said",
    ]
    assert SECRET.encode() not in b"".join(each.read_bytes() for each in (stage.data / "store").rglob("*.mdb"))
    stage.process.start()
    stage.view.mset(ADAS | BOBS)  # as it would be had it kept its data
    stage.double.refuse_all = None
    second = stage.forget()
    assert (second.left, second.erased["entries of the cache chat"]) == ([], 3)
    assert (stage.shown(), stage.documents()) == (BOBS, BOBS_DOCUMENTS)
    third = stage.forget()
    assert (third.left, third.erased["removals, which stay"] > 0, "changes" in third.erased) == ([], True, False)
    assert (stage.shown(), stage.documents()) == (BOBS, BOBS_DOCUMENTS)


def test_what_was_away_is_taken_out_by_the_engine_as_well(stage: Stage) -> None:
    stage.double.refuse_all = (503, "master_not_discovered_exception")
    assert len(stage.forget().left) == 1
    assert stage.documents() == BOBS_DOCUMENTS | ADAS_DOCUMENTS
    stage.double.refuse_all = None
    stage.run()
    assert stage.documents() == BOBS_DOCUMENTS


def test_a_document_under_a_later_version_is_named(stage: Stage) -> None:
    stage.double.indexes["said"]["ada"].version = 99
    (left,) = stage.forget().left
    assert left.startswith("up to 1 documents of the search index said (search_index/said: version_conflict")


def test_without_the_app_or_with_another_nothing_is_erased(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        CommandError, match="with --app, as only it tells what the cache chat and the search index said"
    ):
        forget(stage.data, ADA)
    with pytest.raises(CommandError, match="expected the app 'chat', to which the data directory belongs, got 'other'"):
        forget(stage.data, ADA, app=App("other"))
    earlier = App("chat")
    earlier.table("chat-turns", partition_key="PK", sort_key="SK")
    assert forget(stage.data, ADA, app=earlier, dry_run=True).left == [
        "the cache chat, which the app that was given does not declare",
        "the search index said, which the app that was given does not declare",
    ]
    path = stage.data.parent / "chat_app.py"
    path.write_text(APP.format(cache=stage.process.url, index=stage.double.url))
    with pytest.raises(SystemExit) as ended:
        main(["forget", ADA, "--app", str(path), "--json", "--data", str(stage.data)])
    said = json.loads(capsys.readouterr().out)
    assert (ended.value.code, said["erased"]["items"], said["left"]) == (0, 1, [])
    assert stage.shown() == BOBS
