from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import afterwrite
from afterwrite import App, Change
from afterwrite.cli.status import concerns
from afterwrite.config import Settings
from afterwrite.core.lag import Thresholds
from afterwrite.inspection.status import ConsumerStatus, QueueStatus, Status
from afterwrite.wiring import Engine
from cli.conftest import Run
from embedded import Clock, Dynamo, open_store
from engine_process import EngineUnderTest, wait_until
from terminal import run_on_terminal

ITERATOR_AGE_MS_MAX = Thresholds().iterator_age_ms_max


def consumer(*, lag: int = 0, age_ms: int = 0, parked: int = 0) -> ConsumerStatus:
    return ConsumerStatus("orders", 1, 1 + lag, lag, age_ms, parked, parked)


def test_what_is_late_parked_or_dead_needs_an_operator_and_nothing_else_does() -> None:
    queue = QueueStatus("mail", "send", "mail-dead-letters", waiting=9, in_flight=1, dead_letters=0)
    assert concerns(Status({}, [consumer(lag=5, age_ms=ITERATOR_AGE_MS_MAX)], [queue], []), {}) == []

    (late,) = concerns(Status({}, [consumer(lag=5, age_ms=ITERATOR_AGE_MS_MAX + 1)], [], []), {})
    assert late.why == "5 changes of the table orders have waited for the routes for up to 60.0 s"
    assert "the engine's log" in late.what_to_do
    (stopped,) = concerns(Status(None, [consumer(lag=5, age_ms=ITERATOR_AGE_MS_MAX + 1)], [], []), {})
    assert stopped.what_to_do.startswith("start the engine")

    waits = replace(queue, oldest_age_ms=900_001)
    (slow,) = concerns(Status({}, [], [waits], []), {})
    assert slow.why == "messages of the queue mail have waited for up to 15 min"
    # What the app declares holds instead.
    assert concerns(Status({}, [], [waits], [], Thresholds(queue_age_ms_max=10**9)), {}) == []

    (parked,) = concerns(Status({}, [consumer(parked=2)], [], []), {"orders": {"orders/a": "KeyError"}})
    assert parked.why == "2 lanes of the table orders with 2 changes parked (orders/a: KeyError; …)"

    held = replace(queue, parked_lanes=1, parked_messages=3)
    (of_queue,) = concerns(Status({}, [], [held], []), {})
    assert of_queue.why == "1 lane of the queue mail with 3 messages parked"
    assert of_queue.what_to_do.endswith("afterwrite parked redrive --in mail")

    hanging = replace(queue, stuck_threads=2)
    (concern,) = concerns(Status({}, [], [hanging], []), {})
    assert concern.why.startswith("2 attempts of the function send hanging past the timeout")
    # They ended with the engine.
    assert concerns(Status(None, [], [hanging], []), {}) == []
    dead = QueueStatus("mail", "send", "mail-dead-letters", waiting=0, in_flight=0, dead_letters=1)
    (letter,) = concerns(Status({}, [], [dead], []), {})
    assert letter.why == "1 dead letter of the queue mail"
    assert letter.what_to_do.endswith("afterwrite parked show --in mail")


def test_a_disk_that_is_nearly_full_needs_an_operator() -> None:
    assert concerns(Status({}, [], [], [], free_bytes=256 << 20), {}) == []
    (full,) = concerns(Status({}, [], [], [], free_bytes=12 << 20), {})
    assert full.why == "12.0 MiB are left on the data directory's disk"
    assert "writes" in full.what_to_do


def test_beside_a_running_engine(written: EngineUnderTest, cli: Run) -> None:
    done = cli("status", "--data", written.data, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["engine"]["pid"] == written.pid
    assert found["engine"]["listening"] == written.address
    (orders,) = found["consumers"]
    assert (orders["table"], orders["position"], orders["last_position"], orders["lag_records"]) == ("orders", 4, 4, 0)
    assert (orders["parked_lanes"], orders["parked_changes"]) == (1, 2)
    depths = {each["name"]: (each["waiting"], each["in_flight"], each["dead_letters"]) for each in found["queues"]}
    assert depths["outside"] == (1, 0, 0)
    assert depths["function-fail"] == (0, 0, 1)
    assert [each["name"] for each in found["buffers"]] == ["lake/lake", "lake/slow-lake", "audit/trail"]
    assert len(found["needs_operator"]) == 2
    assert 0 < found["free_bytes"] <= shutil.disk_usage(written.data).total


def test_every_route_has_its_line_though_it_never_ran(written: EngineUnderTest, cli: Run) -> None:
    found = json.loads(cli("status", "--data", written.data, "--json").stdout)
    assert [(each["name"], each["table"], each["when"], each["parked_lanes"]) for each in found["routes"]] == [
        ("good", "orders", "INSERT, SK prefix good", 0),
        ("keep", "orders", "INSERT, SK prefix kept", 0),
        ("bad", "orders", "INSERT, SK prefix bad", 0),
        ("park", "orders", "INSERT, SK prefix park", 1),
        ("gated", "orders", "INSERT, SK prefix gated", 0),
    ]
    lines = cli("status", "--data", written.data).stdout.splitlines()
    start = lines.index("Routes") + 1
    assert lines[start].split() == ["route", "table", "when", "parked", "lanes"]
    assert lines[start + 5].split() == ["gated", "orders", "INSERT,", "SK", "prefix", "gated", "0"]


def test_pipes_and_routes_of_every_change_are_told_as_such(tmp_path: Path) -> None:
    app = App("piped")
    things = app.table("things", partition_key="pk")
    letters = app.queue("letters")

    @things.on()
    def route(_change: Change) -> None:
        """Does nothing."""

    things.pipe(name="filtered", to=letters, filter={"eventName": ["INSERT"]})
    things.pipe(name="unfiltered", to=letters)
    with Engine(app, Settings(tmp_path / "data", port=None)) as engine:
        assert [(each.name, each.table, each.when) for each in engine.reader().status().routes] == [
            ("route", "things", "every change"),
            ("filtered", "things", "its filter"),
            ("unfiltered", "things", "every change"),
        ]


def test_check_fails_and_says_what_to_do(written: EngineUnderTest, cli: Run) -> None:
    done = cli("status", "--data", written.data, "--check")
    assert done.returncode == 1
    assert "1 lane of the table orders with 2 changes parked" in done.stdout
    assert "route park: KeyError: 'missing'" in done.stdout
    assert "afterwrite parked show --in function-fail" in done.stdout
    assert "\x1b" not in done.stdout


def test_lines_are_aligned_where_there_is_no_terminal(written: EngineUnderTest, cli: Run) -> None:
    lines = cli("status", "--data", written.data).stdout.splitlines()
    start = lines.index("Tables") + 1
    header, row = lines[start : start + 2]
    assert header.split()[:4] == ["table", "position", "last", "lag"]
    assert row.index("4") == header.index("position") + len("position") - 1


def test_a_table_is_drawn_on_a_terminal(written: EngineUnderTest) -> None:
    status, output = run_on_terminal("status", "--data", str(written.data))
    assert status == 0
    assert "│ orders" in output
    assert "\x1b[32mrunning" in output


def test_a_stopped_directory_with_old_unread_changes_needs_its_engine(engine: EngineUnderTest, cli: Run) -> None:
    assert engine.stop() == 0
    done = cli("status", "--data", engine.data, "--check")
    assert done.returncode == 0
    assert "engine  stopped" in done.stdout

    environment = open_store(engine.data / "store", Clock())
    Dynamo(environment).put("orders", PK="a", SK="late")
    environment.close()
    done = cli("status", "--data", engine.data, "--check")
    assert done.returncode == 1
    assert "1 change of the table orders have waited" in done.stdout
    assert "start the engine: afterwrite run APP" in done.stdout


def test_a_queue_that_is_not_declared_any_more_needs_an_operator_while_it_holds_something(
    engine: EngineUnderTest, cli: Run
) -> None:
    engine.put("orders", PK="a", SK="bad")
    engine.put("orders", PK="b", SK="gated")
    with afterwrite.open_data(engine.data) as reader:
        wait_until(lambda: bool(list(reader.messages("function-fail-dead-letters"))))
    assert engine.stop() == 0
    text = engine.app.read_text()
    engine.app.write_text(text.replace("fail", "give_up").replace("wait_for_gate", "wait_long"))
    engine.start()

    done = cli("status", "--data", engine.data, "--check", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    left = {each["name"]: each for each in found["queues"] if not each["declared"]}
    assert sorted(left) == ["function-fail", "function-wait_for_gate"]
    assert (left["function-fail"]["waiting"], left["function-fail"]["dead_letters"]) == (0, 1)
    assert (left["function-wait_for_gate"]["waiting"], left["function-wait_for_gate"]["function"]) == (1, None)
    assert [each["why"] for each in found["needs_operator"]] == [
        "1 message in the queue function-wait_for_gate, which the app does not declare any more",
        "1 dead letter of the queue function-fail",
    ]
    assert "not declared any more" in cli("status", "--data", engine.data).stdout
    letters = cli("parked", "list", "--in", "function-fail", "--data", engine.data, "--json")
    assert [json.loads(line)["by"] for line in letters.stdout.splitlines()] == ["fail"]

    engine.stop()
    engine.app.write_text(text)
    engine.app.with_name("gate").touch()
    engine.start()
    with afterwrite.open_data(engine.data) as reader:
        wait_until(reader.idle)
        assert [each.name for each in reader.status().queues if not each.declared] == []


def test_lanes_of_a_table_that_has_no_routes_any_more_need_an_operator(tmp_path: Path, cli: Run) -> None:
    def made(*, with_route: bool) -> App:
        app = App("shop")
        orders, stock = (app.table(name, partition_key="PK") for name in ("orders", "stock"))
        stock.on()(lambda _: None)
        prices = app.delivery_stream("prices")
        if with_route:
            orders.on()(lambda change: None if change.new is None else prices.put(price=change.new["price"]))
        return app

    data = tmp_path / "data"
    with afterwrite.open_engine(data, made(with_route=True)) as engine:
        for key in ("a", "a", "b"):
            engine.table("orders").put({"PK": key, "n": engine.reader().status().consumers[0].last_position})
        wait_until(lambda: engine.reader().status().consumers[0].parked_changes == 3)
    with afterwrite.open_engine(data, made(with_route=False)) as engine:
        assert engine.reader().idle()
    found = json.loads(cli("status", "--data", data, "--json").stdout)
    (left,) = found["left_parked"]
    assert (left["table"], left["parked_lanes"], left["parked_changes"]) == ("orders", 2, 3)
    (concern,) = found["needs_operator"]
    assert "2 lanes of the table orders with 3 changes parked (orders/" in concern["why"]
    assert "KeyError: 'price'" in concern["why"]
    assert concern["why"].endswith("and the app has no routes on that table any more")
    assert "parked drop --in orders --whole-lane" in concern["what_to_do"]
    assert "orders (no routes any more)" in cli("status", "--data", data).stdout

    redriven = cli("parked", "redrive", "--in", "orders", "--data", data).stdout
    assert "warning: the app runs nothing on orders any more: what is meant there waits until it does\n" in redriven
    cli("parked", "drop", "--in", "orders", "--whole-lane", "--data", data)
    assert cli("status", "--data", data, "--check").returncode == 0


def test_changes_that_routes_had_not_run_on_when_they_were_taken_away_need_an_operator(
    tmp_path: Path, cli: Run
) -> None:
    def made(*, with_route: bool) -> App:
        app = App("shop")
        orders = app.table("orders", partition_key="PK", retention_hours=2)
        if with_route:
            orders.on()(lambda _: None)
        return app

    data = tmp_path / "data"

    def run_and_put(app: App | None, *keys: str) -> None:
        with afterwrite.open_engine(data, app) as engine:
            for key in keys:
                engine.table("orders").put({"PK": key})
            if app is not None:
                wait_until(engine.reader().idle)

    run_and_put(made(with_route=True), "a")
    run_and_put(None, "b", "c")
    run_and_put(made(with_route=False), "d")
    run_and_put(made(with_route=False), "e")
    found = json.loads(cli("status", "--data", data, "--json").stdout)
    (left,) = found["left_unread"]
    assert (left["table"], left["changes"], left["retention_ms"]) == ("orders", 2, 7_200_000)
    assert 0 < left["time_to_loss_ms"] <= 7_200_000
    (concern,) = found["needs_operator"]
    assert concern["why"].startswith("2 changes of the table orders that its routes had not run on when the app was")
    assert "orders (no routes any more)" in cli("status", "--data", data).stdout
    assert cli("status", "--data", data, "--check").returncode == 1
    run_and_put(made(with_route=True))
    assert json.loads(cli("status", "--data", data, "--json").stdout)["left_unread"] == []


def test_a_buffer_that_is_not_declared_any_more_needs_an_operator_while_it_holds_something(tmp_path: Path) -> None:
    def made(*, with_lake: bool) -> App:
        app = App("shop")
        orders = app.table("orders", partition_key="PK")
        if with_lake:
            lake = app.delivery_stream("lake", buffer_seconds=900)
            orders.on()(lambda change: lake.put(key=change.keys["PK"]))
        return app

    with afterwrite.open_engine(tmp_path / "data", made(with_lake=True)) as engine:
        engine.table("orders").put({"PK": "a"})
        wait_until(lambda: engine.reader().status().buffers[0].records == 1)
    with afterwrite.open_engine(tmp_path / "data", made(with_lake=False)) as engine:
        status = engine.reader().status()
        assert [(each.name, each.records, each.declared) for each in status.buffers] == [("lake/lake", 1, False)]
        (concern,) = concerns(status, {})
        assert concern.why == "1 record in the buffer lake/lake, which the app does not declare any more"
        assert status.idle
        assert engine.reader().idle()


@pytest.mark.parametrize("arguments", [("--data", "nowhere"), ("--nonsense",)])
def test_wrong_use_is_one_line_and_exit_2(arguments: tuple[str, ...], cli: Run) -> None:
    done = cli("status", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: ")
    assert done.stderr.count("\n") == 1
