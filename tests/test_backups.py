"""Backups: as of one commit while the engine writes, whole or not there, and restored to an engine that goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from afterwrite import App, Change, Context, open_data, open_engine
from afterwrite.backups import back_up, restore
from afterwrite.cli.backup import backup as backup_command
from afterwrite.errors import CommandError, CorruptData, StorageError
from afterwrite.local import lake
from afterwrite.wiring import Engine
from bounds import BOUND_S
from engine_process import wait_until

TABLE = "orders"


def shop() -> App:
    """Every change goes to the lake and to the audit log."""
    app = App("shop")
    orders = app.table(TABLE, partition_key="id")
    analytics = app.delivery_stream("analytics", buffer_seconds=0.05)
    audit = app.audit_log("trail")

    @orders.on()
    def keep(change: Change) -> list[Any]:
        assert change.new is not None
        number = int(change.new["n"])
        return [analytics.put(n=number), audit.append(n=number)]

    return app


def kept(data: Path) -> tuple[list[int], list[int], list[int]]:
    """The numbers in the table, in the lake and in the audit log, which must be whole."""
    with open_data(data) as reader:
        assert not reader.verify_audit("trail").faults
        return (
            sorted(int(item["n"]) for item in reader.items(TABLE)),
            sorted(row["n"] for row in lake.read(reader.lake("analytics").parent, "analytics")),
            [entry["entry"]["n"] for entry in reader.audit_entries("trail")],
        )


def test_a_backup_under_load_restores_to_one_moment_and_the_rest_happens_once(tmp_path: Path) -> None:
    stop = threading.Event()
    numbers = iter(range(1_000_000))
    with open_engine(tmp_path / "data", shop()) as engine:
        table = engine.table(TABLE)

        def write() -> None:
            while not stop.is_set():
                table.put({"id": f"{(number := next(numbers)):06d}", "n": number})

        writer = threading.Thread(target=write)
        writer.start()
        try:
            # A log that has not begun has no directory yet.
            wait_until((tmp_path / "data" / "audit" / "trail").exists)
            for round_number in range(2):
                reached = sum(1 for _ in engine.reader().items(TABLE))
                wait_until(lambda least=reached + 150: sum(1 for _ in engine.reader().items(TABLE)) >= least)  # type: ignore[misc]
                engine.back_up(str(tmp_path / f"backup{round_number}"))
        finally:
            stop.set()
            writer.join()
    for round_number in range(2):
        restored = tmp_path / f"restored{round_number}"
        restore(tmp_path / f"backup{round_number}", restored)
        # What the store knew of at that commit is there, and nothing that it did not.
        items, rows, entries = kept(restored)
        assert items == list(range(len(items)))
        assert len(items) >= 150
        assert rows == list(range(len(rows)))
        assert entries == list(range(len(entries)))
        with open_engine(restored, shop()) as engine:
            reader = engine.reader()
            wait_until(reader.idle, what="everything having had its effects")
        assert kept(restored) == (items, items, items)


def test_what_functions_keep_comes_along(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop()) as engine:
        (engine.services.directory("mail") / "one.txt").write_text("hello")
        command = [sys.executable, "-m", "afterwrite", "backup", str(tmp_path / "backup"), "--data"]
        subprocess.run([*command, str(tmp_path / "data")], check=True, timeout=BOUND_S)
    done = restore(tmp_path / "backup", tmp_path / "restored")
    assert (tmp_path / "restored" / "files" / "mail" / "one.txt").read_text() == "hello"
    assert done.tables == [TABLE]


def test_files_that_functions_rename_and_delete_meanwhile_hinder_no_backup(tmp_path: Path) -> None:
    stop = threading.Event()
    with open_engine(tmp_path / "data", shop()) as engine:
        kept_files = engine.services.directory("outbox")
        (kept_files / "there").write_text("all the time")
        os.mkfifo(kept_files / "pipe")
        (kept_files / "link").symlink_to("there")

        def rename() -> None:
            while not stop.is_set():
                for number in range(200):
                    written = kept_files / f"{number}.tmp"
                    written.write_text("x" * 10_000)
                    written.replace(kept_files / f"{number}.txt")
                for number in range(0, 200, 3):
                    (kept_files / f"{number}.txt").unlink()

        writer = threading.Thread(target=rename)
        writer.start()
        try:
            for number in range(3):
                engine.back_up(tmp_path / str(number))
        finally:
            stop.set()
            writer.join(BOUND_S)
    for number in range(3):
        copied = tmp_path / str(number) / "files" / "outbox"
        assert (copied / "there").read_text() == "all the time"
        assert (copied / "link").readlink() == Path("there")
        assert not (copied / "pipe").exists()


def test_a_backup_is_not_made_over_something_and_no_restore_either(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop()):
        pass
    back_up(tmp_path / "data", tmp_path / "backup")
    with pytest.raises(CommandError, match="choose another"):
        back_up(tmp_path / "data", tmp_path / "backup")
    with pytest.raises(CommandError, match="choose another"):
        restore(tmp_path / "backup", tmp_path / "data")
    with pytest.raises(CommandError, match="outside of"):
        back_up(tmp_path / "data", tmp_path / "data" / "backups" / "monday")
    assert not (tmp_path / "data" / "backups").exists()
    with pytest.raises(StorageError, match="no store"):
        back_up(tmp_path / "nothing", tmp_path / "other")
    with pytest.raises(CommandError, match=r"no backup\.json"):
        restore(tmp_path / "data", tmp_path / "other")
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "backup", tmp_path / "empty")


def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop()):
        pass
    back_up(tmp_path / "data", tmp_path / "backup")
    file = tmp_path / "backup" / "store" / "data.mdb"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptData, match="not what was backed up"):
        restore(tmp_path / "backup", tmp_path / "restored")
    assert not list(tmp_path.glob("restored*")), "it would take room for nothing"


def test_a_damaged_store_is_not_backed_up(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop()) as engine:
        engine.table(TABLE).put({"id": "here-it-stands", "n": 1})
        wait_until(engine.reader().idle)
    file = tmp_path / "data" / "store" / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"here-it-stands", b"here-it-Stands"))
    with pytest.raises(CorruptData, match="nothing was backed up"):
        back_up(tmp_path / "data", tmp_path / "backup")
    assert not list(tmp_path.glob("backup*")), "it would take room for nothing"


def test_an_interrupted_backup_is_begun_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_engine(tmp_path / "data", shop()):
        pass
    (tmp_path / "backup.partial" / "store").mkdir(parents=True)
    (tmp_path / "backup.partial" / "store" / "data.mdb").write_bytes(b"half")
    backup_command(tmp_path / "backup", data=tmp_path / "data")
    assert "1 table" in capsys.readouterr().out
    assert not (tmp_path / "backup.partial").exists()


def test_flows_go_on_after_a_restore_where_the_backup_left_them(tmp_path: Path) -> None:
    ran: list[tuple[str, str, int]] = []
    begun, gate = threading.Event(), threading.Event()
    app = App("flows")
    orders = app.table(TABLE, partition_key="id")
    outside, late = app.queue("outside"), app.queue("late")

    @app.function(retries=3)
    def send(request: Any, context: Context) -> None:
        ran.append((request["id"], context.invocation_id, context.attempt))
        if request["id"] == "running" and not gate.is_set():
            begun.set()
            gate.wait(BOUND_S)

    @orders.on()
    def tell(change: Change) -> list[Any]:
        order = change.keys["id"]
        if order == "bad":
            raise KeyError("price")
        return [send.later(id=order), outside.send(order), late.send(order, delay_s=600)]

    with open_engine(tmp_path / "data", app) as engine:
        table, reader = engine.table(TABLE), engine.reader()
        table.put({"id": "done"})
        wait_until(reader.idle)
        sqs = engine.boto3_session().client("sqs")
        url = sqs.get_queue_url(QueueName="outside")["QueueUrl"]
        (held,) = sqs.receive_message(QueueUrl=url, VisibilityTimeout=600)["Messages"]
        table.put({"id": "running"})
        assert begun.wait(BOUND_S)
        table.put({"id": "bad"})
        wait_until(lambda: len(list(reader.parked(TABLE))) == 1)
        engine.back_up(tmp_path / "backup")
        gate.set()
        table.put({"id": "lost"})
        wait_until(reader.idle)
    (_, id_of_running, _) = next(each for each in ran if each[0] == "running")
    assert [order for order, _, _ in ran] == ["done", "running", "lost"]
    ran.clear()

    restore(tmp_path / "backup", tmp_path / "restored")
    with open_engine(tmp_path / "restored", app) as engine:
        table, reader = engine.table(TABLE), engine.reader()
        wait_until(reader.idle)
        # What was being done is done again, under its id; what was done is not, and what was lost is not known.
        assert ran == [("running", id_of_running, 2)]
        assert sorted(item["id"] for item in reader.items(TABLE)) == ["bad", "done", "running"]
        assert [each.lane for each in reader.parked(TABLE)] == [f"{TABLE}/bad"]
        assert sorted(each.body for each in reader.messages("late")) == ["done", "running"]
        # Who held a message outside still holds it, and can say that it is done.
        sqs = engine.boto3_session().client("sqs")
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert [each["Body"] for each in received] == ["running"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"])
        wait_until(lambda: len(list(reader.messages("outside"))) == 1)


def test_what_a_restored_engine_writes_has_ids_and_versions_that_nothing_had_before(tmp_path: Path) -> None:
    app = App("numbered")
    orders = app.table(TABLE, partition_key="id")
    app.queue("work.fifo")
    seen: list[tuple[str, int]] = []

    @orders.on()
    def see(change: Change) -> None:
        seen.append((change.id, int(change.sequence_number or 0)))

    def send(engine: Engine) -> int:
        sqs = engine.boto3_session().client("sqs")
        url = sqs.get_queue_url(QueueName="work.fifo")["QueueUrl"]
        sent = sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId=str(uuid4()))
        return int(sent["SequenceNumber"])

    def records(engine: Engine, **after: str) -> list[Any]:
        """The table's stream, read on by somebody who keeps a checkpoint."""
        reader = engine.boto3_session().client("dynamodbstreams")
        (stream,) = reader.list_streams(TableName=TABLE)["Streams"]
        arn = stream["StreamArn"]
        (shard,) = reader.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER" if after else "TRIM_HORIZON", **after}
        iterator = reader.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], **start)["ShardIterator"]
        found: list[Any] = reader.get_records(ShardIterator=iterator)["Records"]
        return found

    with open_engine(tmp_path / "data", app) as engine:
        engine.table(TABLE).put({"id": "kept"})
        wait_until(engine.reader().idle)
        engine.back_up(tmp_path / "backup")
        for number in range(5):
            engine.table(TABLE).put({"id": f"lost-{number}"})
        wait_until(engine.reader().idle)
        checkpoint = records(engine)[-1]["dynamodb"]["SequenceNumber"]
        lost_message = send(engine)
    before = list(seen)
    seen.clear()
    for round_number in range(2):  # also of a restored one that is lost in its turn
        restore(tmp_path / "backup", tmp_path / f"restored-{round_number}")
        with open_engine(tmp_path / f"restored-{round_number}", app) as engine:
            engine.table(TABLE).put({"id": "new"})
            wait_until(engine.reader().idle)
            (record,) = records(engine, SequenceNumber=checkpoint)
            assert record["dynamodb"]["Keys"] == {"id": {"S": "new"}}
            assert send(engine) > lost_message
            assert engine.reader().status().consumers[0].lag_records == 0
    assert len({id for id, _ in seen}) == 2
    assert not {id for id, _ in seen} & {id for id, _ in before}
    assert min(number for _, number in seen) > max(number for _, number in before)
