"""An app becomes an engine: declared tables are made, kept and checked; it stops and starts where it was."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, Change, Context, DeclarationError, open_data, open_engine
from afterwrite.config import Settings
from afterwrite.errors import AfterwriteError, CommandError, DataDirectoryInUse, StorageError
from afterwrite.store.data_directory import DataDirectory, DirectoryLock
from afterwrite.wiring import Engine, works
from bounds import BOUND_S
from engine_process import wait_until

HOUR_NS = 3_600_000_000_000


def app_with(**table: Any) -> App:
    app = App("wired")
    app.table(**{"name": "things", "partition_key": "pk", **table})
    return app


def start(app: App, path: Path) -> Engine:
    return Engine(app, Settings(path / "data"))


def test_what_waits_at_a_start_with_the_clock_set_back_does_not_wait_for_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails, tried, done = threading.Event(), threading.Event(), threading.Event()
    fails.set()
    app = app_with()
    outside = app.queue("outside")

    @app.function(retries=1_000, backoff_s=0.1)
    def work(_request: Any, _context: Context) -> None:
        tried.set()
        if fails.is_set():
            raise RuntimeError("not yet")
        done.set()

    @app.tables[0].on()
    def ask(_change: Change) -> list[Any]:
        return [work.later(), outside.send("late", delay_s=0.5)]

    with monkeypatch.context() as patched:
        an_hour_ahead = time.time_ns() + 3_600 * 10**9
        patched.setattr(time, "time_ns", lambda: an_hour_ahead)
        with start(app, tmp_path) as engine:
            engine.services.table("things").put({"pk": "p"})
            assert tried.wait(BOUND_S)
            wait_until(lambda: engine.reader().depths().get("outside", (0, 0))[0] == 1)
    fails.clear()
    with start(app, tmp_path) as engine:
        assert done.wait(BOUND_S)
        sqs = engine.boto3_session().client("sqs")
        url = sqs.get_queue_url(QueueName="outside")["QueueUrl"]
        wait_until(lambda: bool(sqs.receive_message(QueueUrl=url).get("Messages")))


def test_what_consumers_outside_hold_is_hidden_no_longer_where_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_with()
    app.queue("outside")
    wall_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns)

    def receive(engine: Engine, queue: str, timeout_s: int) -> list[Any]:
        sqs = engine.boto3_session().client("sqs")
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        request = {"QueueUrl": url, "VisibilityTimeout": timeout_s, "MaxNumberOfMessages": 10}
        found: list[Any] = sqs.receive_message(**request).get("Messages", [])
        return found

    queues = ("outside", "outside-dead-letters")
    with start(app, tmp_path) as engine:
        sqs = engine.boto3_session().client("sqs")
        urls = {queue: sqs.get_queue_url(QueueName=queue)["QueueUrl"] for queue in queues}
        for url in urls.values():
            sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": body, "MessageBody": body} for body in ("a", "b")])
        wall_ns += 10 * HOUR_NS
        held = {queue: receive(engine, queue, 3_000) for queue in queues}
        for queue, messages in held.items():
            (first,) = (each for each in messages if each["Body"] == "a")
            fields = {"QueueUrl": urls[queue], "ReceiptHandle": first["ReceiptHandle"]}
            sqs.change_message_visibility(**fields, VisibilityTimeout=6_000)
    # They were sent before the time that it is now, and received after it.
    wall_ns -= 5 * HOUR_NS
    with start(app, tmp_path) as engine:
        assert [receive(engine, queue, 3_000) for queue in queues] == [[], []]
    with start(app, tmp_path) as engine:  # another start cuts nothing again
        assert [receive(engine, queue, 3_000) for queue in queues] == [[], []]
        wall_ns += HOUR_NS
        assert [[each["Body"] for each in receive(engine, queue, 30_000)] for queue in queues] == [["b"], ["b"]]
        # Who holds a message can still say that it is done.
        sqs = engine.boto3_session().client("sqs")
        for queue, messages in held.items():
            (first,) = (each for each in messages if each["Body"] == "a")
            sqs.delete_message(QueueUrl=urls[queue], ReceiptHandle=first["ReceiptHandle"])
        wall_ns += HOUR_NS
        assert [receive(engine, queue, 3_000) for queue in queues] == [[], []]
        assert [engine.reader().depths()[queue] for queue in queues] == [(0, 1), (0, 1)]  # b, which is held again


def test_an_audit_log_that_cannot_be_signed_at_the_stop_keeps_nothing_else_from_being_let_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_with()
    logs = [app.audit_log(name) for name in ("first", "second")]

    @app.tables[0].on()
    def keep(change: Change) -> list[Any]:
        return [log.append(key=change.keys["pk"]) for log in logs]

    with start(app, tmp_path) as engine:
        engine.services.table("things").put({"pk": "p"})
        wait_until(engine.reader().idle)
        folder = tmp_path / "data" / "audit" / "first"
        folder.rename(tmp_path / "away")
        folder.write_text("no folder")
    assert [record.message for record in caplog.records if "not signed up to its end" in record.message]
    assert list((tmp_path / "data" / "audit" / "second").glob("*digest*"))
    folder.unlink()
    (tmp_path / "away").rename(folder)
    with start(app, tmp_path) as engine:
        engine.services.table("things").put({"pk": "q"})
        wait_until(engine.reader().idle)
        assert [entry["n"] for entry in engine.reader().audit_entries("first")] == [1, 2]


@pytest.mark.parametrize("emptied", [False, True])
def test_no_store_begins_beside_the_files_of_one_that_is_gone(tmp_path: Path, emptied: bool) -> None:
    app = app_with()
    log = app.audit_log("log")
    app.tables[0].on()(lambda change: log.append(keys=change.keys))
    with start(app, tmp_path) as engine:
        engine.services.table("things").put({"pk": "p"})
        wait_until(engine.reader().idle)
    data = tmp_path / "data"
    shutil.rmtree(data / "store")
    if emptied:
        (data / "store").mkdir()
    for opened in (lambda: start(app, tmp_path).start(), lambda: open_data(data)):
        with pytest.raises(
            StorageError, match=r"expected the store that audit/ in .* belong to, found none in .*: put"
        ):
            opened()
    (data / "audit").rename(tmp_path / "audit")
    with start(app, tmp_path) as engine:
        assert engine.services.table("things").get({"pk": "p"}) is None


def test_a_table_is_kept_over_restarts_and_follows_its_declaration(tmp_path: Path) -> None:
    with start(app_with(), tmp_path) as engine:
        engine.services.table("things").put({"pk": "p"})
    with start(app_with(ttl="expires", retention_hours=48), tmp_path) as engine:
        assert engine.services.table("things").get({"pk": "p"}) == {"pk": "p"}
        table = engine._environment.state["catalog"]["things"]
        assert (table.ttl_attribute, table.retention_s) == ("expires", 48 * 3600)
    with start(app_with(), tmp_path) as engine:
        assert engine._environment.state["catalog"]["things"].ttl_attribute is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"partition_key": "id"}, r"the key pk \(S\), the app declares the key id \(S\): use another data directory"),
        ({"sort_key": "sk"}, r"the key pk \(S\), the app declares the key pk \(S\), sk \(S\): use another"),
        ({"view_type": "KEYS_ONLY"}, "the view type NEW_AND_OLD_IMAGES, the app declares KEYS_ONLY: .* UpdateTable"),
    ],
)
def test_a_table_that_is_there_otherwise_is_refused_and_the_directory_let_go(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with start(app_with(), tmp_path):
        pass
    with pytest.raises(DeclarationError, match=message):
        start(app_with(**changed), tmp_path).start()
    with start(app_with(), tmp_path) as engine:
        engine.services.table("things").put({"pk": "p"})


def test_a_table_without_a_stream_gets_the_one_that_the_app_declares(tmp_path: Path) -> None:
    """So does one whose stream was disabled, which is how its view type is changed."""
    app = app_with()
    with start(app, tmp_path) as engine:
        engine.services.table("things").put({"pk": "p"})
    with open_engine(tmp_path / "data") as engine:
        none = {"StreamEnabled": False}
        engine.services.execute("UpdateTable", {"TableName": "things", "StreamSpecification": none})
        engine.table("things").put({"pk": "unseen"})
    app = app_with(view_type="KEYS_ONLY")
    seen: list[str] = []
    app.tables[0].on()(lambda change: seen.append(str(change.keys["pk"])))
    with start(app, tmp_path) as engine:
        engine.services.table("things").put({"pk": "q"})
        wait_until(engine.reader().idle)
        stream = engine._environment.state["catalog"]["things"].stream
        assert (seen[-1], "unseen" in seen, stream.view_type) == ("q", False, "KEYS_ONLY")


@pytest.mark.parametrize(
    ("module", "declare", "message"),
    [
        ("redis", lambda app: app.cache("shown", url="redis://127.0.0.1/0"), r"the cache shown needs.*\[redis\]"),
        (
            "opensearchpy",
            lambda app: app.search_index("found", url="http://127.0.0.1:1"),
            r"the search index found needs.*\[opensearch\]",
        ),
    ],
)
def test_a_package_that_is_missing_is_said_before_anything_is_written(
    module: str, declare: Callable[[App], Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwrite.wiring.views.find_spec", lambda name: None if name == module else find_spec(name))
    app = App("shop")
    declare(app)
    with pytest.raises(CommandError, match=message):
        start(app, tmp_path).start()
    with start(App("shop"), tmp_path):
        """What could not start has let the directory go."""


def test_one_engine_a_directory_and_one_an_address(tmp_path: Path) -> None:
    with start(app_with(), tmp_path) as engine:
        with pytest.raises(DataDirectoryInUse):
            start(app_with(), tmp_path).start()
        host, port = engine.address
        with pytest.raises(AfterwriteError, match="cannot listen"):
            Engine(app_with(), Settings(tmp_path / "other", host, port)).start()
        assert not (tmp_path / "other").exists()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_engines_that_stop_or_do_not_start_keep_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_with()
    app.audit_log("trail")
    with start(app, tmp_path):
        pass
    before, threads = descriptors(), set(threading.enumerate())
    with start(app, tmp_path) as engine:
        address = engine.address
        with pytest.raises(AfterwriteError, match="cannot listen"):
            Engine(app_with(), Settings(tmp_path / "other", *address)).start()
    with monkeypatch.context() as patch:
        patch.setattr(DirectoryLock, "describe", fail)
        with pytest.raises(OSError, match="no space"):
            start(app, tmp_path).start()
    assert descriptors() == before
    assert not [each for each in set(threading.enumerate()) - threads if each.name in ("server", "writer", "upkeep")]


def fail(*_: Any) -> None:
    raise OSError("no space")


def test_an_engine_stops_though_a_route_never_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "LOOPS_S_MAX", 0.2)
    app = App("hangs")
    things = app.table("things", partition_key="pk")
    entered, let_go = threading.Event(), threading.Event()

    @things.on()
    def hang(change: Change) -> None:
        entered.set()
        let_go.wait(BOUND_S)

    engine = start(app, tmp_path)
    engine.start()
    try:
        engine.services.table("things").put({"pk": "p"})
        assert entered.wait(BOUND_S)
        engine.stop()
        assert not let_go.is_set()
        assert DataDirectory(tmp_path / "data").holder() is None
    finally:
        let_go.set()


@pytest.mark.parametrize("taken", [".", "store/data.mdb", "engine.lock"])
def test_nothing_is_acknowledged_once_the_directory_is_gone(tmp_path: Path, taken: str) -> None:
    with start(app_with(), tmp_path) as engine:
        table = engine.services.table("things")
        table.put({"pk": "before"})
        path = tmp_path / "data" / taken
        path.rename(tmp_path / "elsewhere")
        with pytest.raises(StorageError, match="moved or deleted"):
            table.put({"pk": "gone"})
        (tmp_path / "elsewhere").rename(path)
        table.put({"pk": "back"})
        assert table.get({"pk": "gone"}) is None


def test_closing_a_reader_of_the_engine_leaves_the_engine_open(tmp_path: Path) -> None:
    with start(app_with(), tmp_path) as engine:
        with engine.reader() as reader:
            assert list(reader.items("things")) == []
        engine.services.table("things").put({"pk": "p"})
        assert list(engine.reader().items("things")) == [{"pk": "p"}]


def flowing_app(seen: Callable[[Any], None]) -> App:
    app = App("flows")
    things = app.table("things", partition_key="pk")

    @app.function(retries=0)
    def work(request: Any, context: Context) -> None:
        seen(request)

    @things.on()
    def ask(change: Change) -> Any:
        return work.later(pk=change.keys["pk"])

    return app


def test_a_write_leads_to_its_function(tmp_path: Path) -> None:
    seen: list[Any] = []
    with start(flowing_app(seen.append), tmp_path) as engine:
        engine.services.table("things").put({"pk": "p"})
        wait_until(lambda: bool(seen), what="the function's run")
    assert seen == [{"pk": "p"}]


def test_messages_that_nobody_received_say_so(tmp_path: Path) -> None:
    app = App("sending")
    things = app.table("things", partition_key="pk")
    out = app.queue("out")

    @things.on()
    def send(change: Change) -> Any:
        return out.send({"pk": change.keys["pk"]})

    with start(app, tmp_path) as engine:
        engine.services.table("things").put({"pk": "p"})
        reader = engine.reader()
        wait_until(lambda: bool(list(reader.messages("out"))), what="the message")
        assert [(message.body, message.receive_count) for message in reader.messages("out")] == [({"pk": "p"}, 0)]


def test_stopping_finishes_what_runs_and_a_restart_does_not_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, "_FINISH_S_MAX", BOUND_S)
    entered = threading.Event()
    seen: list[Any] = []

    def slowly(request: Any) -> None:
        entered.set()
        stopping.wait(BOUND_S)
        seen.append(request)

    stopping = threading.Event()
    engine = start(flowing_app(slowly), tmp_path)
    engine.start()
    engine.services.table("things").put({"pk": "p"})
    assert entered.wait(BOUND_S)
    threading.Timer(0.1, stopping.set).start()
    engine.stop()
    assert seen == [{"pk": "p"}]
    with start(flowing_app(slowly), tmp_path) as again:
        reader = again.reader()
        wait_until(lambda: reader.status().idle, what="rest")
        assert len(list(reader.completions("work"))) == 1
        assert list(reader.messages("function-work-dead-letters")) == []
    assert len(seen) == 1


def test_an_engine_stops_while_clients_write(tmp_path: Path) -> None:
    engine = start(flowing_app(lambda _: None), tmp_path)
    engine.start()
    table = engine.services.table("things")
    written: list[int] = []

    def write() -> None:
        for number in range(100_000):
            try:
                table.put({"pk": str(number)})
            except AfterwriteError:
                return
            written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: len(written) > 20, what="writes")
    engine.stop()
    writer.join(BOUND_S)
    assert not writer.is_alive()
    with start(flowing_app(lambda _: None), tmp_path) as again:
        items = {item["pk"] for item in again.reader().items("things")}
    assert items >= {str(number) for number in written}


def test_an_order_is_not_changed_while_lanes_are_parked_by_another(tmp_path: Path) -> None:
    def failing_app(**options: Any) -> App:
        app = app_with(**options)

        @app.tables[0].on()
        def fail(change: Change) -> None:
            raise ValueError

        return app

    with start(failing_app(sort_key="sk"), tmp_path) as engine:
        engine.services.table("things").put({"pk": "p", "sk": "1"})
        wait_until(lambda: len(list(engine.parked().entries())) == 1)
    with pytest.raises(DeclarationError, match="redrive or drop them under that order first"):
        start(failing_app(sort_key="sk", order="item"), tmp_path).start()
    with start(failing_app(sort_key="sk"), tmp_path) as engine:
        assert engine.parked().drop().entries == 1
    with start(failing_app(sort_key="sk", order="item"), tmp_path) as engine:
        engine.services.table("things").put({"pk": "p", "sk": "2"})
        wait_until(lambda: [each.lane for each in engine.parked().entries()] == ["things/p/2"])


def test_a_target_that_is_down_slows_down_only_what_is_bound_for_it(tmp_path: Path) -> None:
    app = app_with()
    is_up = threading.Event()
    done: list[str] = []
    reached: list[str] = []

    @app.function()
    def call_what_is_down(request: Any, context: Context) -> None:
        if not is_up.is_set():
            raise ConnectionRefusedError("down")
        reached.append(request["pk"])

    @app.function()
    def do(request: Any, context: Context) -> None:
        done.append(request["pk"])

    @app.tables[0].on()
    def both(change: Change) -> Any:
        return [each.later(pk=change.keys["pk"]) for each in (call_what_is_down, do)]

    keys = [f"{number:03}" for number in range(300)]
    with start(app, tmp_path) as engine:
        engine.table("things").put_many({"pk": key} for key in keys)
        wait_until(lambda: len(done) == len(keys), what="the other function's work")
        assert reached == []
        is_up.set()
        wait_until(lambda: len(reached) == len(keys), what="the work of the one whose target was down")
        assert list(engine.parked().entries()) == []
    assert sorted(done) == sorted(reached) == keys


class Ordered:
    """An app by an order, whose function is asked once for each change; what that has done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: list[int] = []

    def app(self, order: Any, *, fails: bool = False) -> App:
        app = app_with(sort_key="sk", order=order)

        @app.function(retries=1_000, backoff_s=0.2)
        def work(request: Any, _context: Context) -> None:
            if fails:
                raise ValueError("not yet")
            self.done.append(request["n"])

        @app.tables[0].on()
        def ask(change: Change) -> Any:
            return None if change.new is None else work.later(n=int(change.new["n"]))

        return app

    def put(self, app: App, n: int, *, is_done: bool) -> None:
        with start(app, self.path) as engine:
            engine.services.table("things").put({"pk": "p", "sk": "s", "n": n})
            if is_done:
                wait_until(lambda: n in self.done)
            else:
                wait_until(lambda: any(each.waiting for each in engine.reader().status().queues))


def test_an_order_is_not_changed_while_messages_wait_that_were_sent_by_another(tmp_path: Path) -> None:
    ordered = Ordered(tmp_path)
    ordered.put(ordered.app("partition_key", fails=True), 1, is_done=False)
    with pytest.raises(DeclarationError, match="sent by order='partition_key' wait in the queue function-work"):
        start(ordered.app("item"), tmp_path).start()
    ordered.put(ordered.app("partition_key"), 2, is_done=True)
    ordered.put(ordered.app("item"), 3, is_done=True)
    assert ordered.done == [1, 2, 3]


def test_an_order_is_remembered_while_the_app_is_without_the_table(tmp_path: Path) -> None:
    ordered = Ordered(tmp_path)
    ordered.put(ordered.app("partition_key", fails=True), 1, is_done=False)
    with start(App("wired"), tmp_path):
        pass
    with pytest.raises(DeclarationError, match="sent by order='partition_key'"):
        start(ordered.app("item"), tmp_path).start()


def test_messages_that_wait_hinder_no_order_that_promises_none(tmp_path: Path) -> None:
    ordered = Ordered(tmp_path)
    ordered.put(ordered.app("partition_key", fails=True), 1, is_done=False)
    ordered.put(ordered.app("none"), 2, is_done=True)
