"""`forget`: a person's content is nowhere in the data directory any more, and the audit log verifies as before."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import afterwrite
from afterwrite import App, Change, Context, Message, open_engine
from afterwrite.backups import back_up, restore
from afterwrite.cli import main
from afterwrite.errors import CommandError, DataDirectoryInUse
from afterwrite.forgetting import forget
from afterwrite.inspection import DataReader
from afterwrite.local import lake
from afterwrite.store.verification import verify as verify_store
from engine_process import wait_until

ADA, BOB = "SESSION#ada", "SESSION#bob"
SECRETS = ("Ada's first secret", "Ada's second secret", "Ada's quiet secret", "ada@example.org")
KEPT = "Bob's only secret"


def declared(*, forgettable: bool = True) -> App:
    """Content of a session goes everywhere that content can go."""
    app = App("chat")
    turns = app.table("chat-turns", partition_key="PK", sort_key="SK", retention_hours=100)
    notes = app.table("chat-notes", partition_key="PK")
    analytics = app.delivery_stream("analytics", buffer_seconds=0)
    later = app.delivery_stream("later", buffer_seconds=900)
    trail = app.audit_log("trail", forgettable=forgettable)
    bus = app.bus("events", archive_days=9)
    outside = app.queue("outside")
    found = app.search_index("said")
    del notes

    @found.documents(turns)
    def said(item: Any) -> Any:
        return {"text": item["text"], "email": item["email"]}

    @app.function()
    def write_letter(request: Any, context: Context) -> Any:
        path = context.directory("outbox") / f"{request['session'].removeprefix('SESSION#')}.txt"
        if request["text"] is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(f"to {request['session']}: {request['text']}")
        return {"wrote": request["text"]}

    @app.function(retries=0)
    def fail(request: Any, context: Context) -> None:
        raise ValueError("it does not want to")

    letters = app.queue("letters", max_receives=1)

    @letters.consumer(exhausted="park")
    def hold(message: Message, context: Context) -> None:
        raise ValueError("parked, with its lane")

    @turns.on(new={"kind": "bad"})
    def park(change: Change) -> Any:
        raise ValueError("no route for this")

    @turns.on()
    def tell(change: Change) -> Any:
        text = None if change.new is None else change.new["text"]
        session = change.keys["PK"]
        told = {"session": session, "text": text}
        return [
            analytics.put(**told, item=change.new_image),
            later.put(text=text),
            trail.append(keys=change.keys_image, before=change.old_image, after=change.new_image),
            bus.put("Said", **told),
            bus.put("Counted", characters=len(text or "")),  # of whom its lane alone tells
            outside.send({"text": text}),
            letters.send({"text": text}),
            write_letter.later(**told),
            fail.later(**told),
        ]

    return app


def turn(key: str, number: int, text: str, **more: Any) -> dict[str, Any]:
    return {"PK": key, "SK": f"TURN#{number}", "text": text, "email": "ada@example.org", **more}


def settled(reader: DataReader) -> bool:
    status = reader.status()
    waiting = sum(queue.waiting + queue.in_flight for queue in status.queues if queue.function not in (None, "hold"))
    audit = sum(buffer.records for buffer in status.buffers if buffer.name == "audit/trail")
    return all(each.lag_records == 0 for each in status.consumers) and waiting == 0 and audit == 0


def fill(path: Path, app: App) -> None:
    with open_engine(path, app) as engine:
        table = engine.table("chat-turns")
        table.put(turn(ADA, 1, SECRETS[0]))
        table.put(turn(BOB, 1, KEPT, email="bob@example.org"))
        table.put(turn(ADA, 1, SECRETS[1]))
        table.put(turn(BOB, 2, KEPT, email="bob@example.org"))
        engine.table("chat-notes").put({"PK": ADA, "note": SECRETS[2] * 300})
        reader = engine.reader()
        wait_until(lambda: settled(reader))
        table.put(turn(ADA, 2, SECRETS[2], kind="bad"))
        table.put(turn(ADA, 3, SECRETS[2]))
        wait_until(lambda: len(list(reader.parked("chat-turns"))) == 2)
        wait_until(lambda: settled(reader))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped directory with two sessions."""
    path = tmp_path_factory.mktemp("chat") / "data"
    fill(path, declared())
    return path


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A copy of it, its own."""
    return Path(shutil.copytree(made, tmp_path / "data"))


def spelled(text: str) -> Iterator[bytes]:
    """The ways in which a text may stand in a file."""
    yield text.encode()
    yield text.encode("unicode_escape")
    yield text.encode().hex().encode()
    for shift in range(3):
        # Base64 of a text within others: without the characters that its neighbours have a part in.
        yield base64.b64encode(b"\0" * shift + text.encode())[4:-4]


def held_by(directory: Path, text: str) -> list[str]:
    """The files whose bytes hold the text, in any spelling."""
    wanted = list(spelled(text))
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path.name for path in files if any(each in path.read_bytes() for each in wanted)]


def found_in(data: Path, text: str) -> list[str]:
    """The files that hold the text, in any spelling; the lake's are decompressed."""
    found = held_by(data, text)
    for stream in sorted((data / "lake").iterdir()):
        found += [f"lake/{stream.name}" for row in lake.read(data / "lake", stream.name) if text in str(row)]
    return found


def test_what_is_searched_for_is_there_before(data: Path) -> None:
    for secret in SECRETS:
        assert "data.mdb" in found_in(data, secret)
    assert {"said.sqlite", "said.sqlite-wal"} & {*found_in(data, SECRETS[1]), *found_in(data, SECRETS[0])}
    assert {"lake/analytics", "ada.txt"} <= {*found_in(data, SECRETS[1]), *found_in(data, SECRETS[0])}
    assert not [secret for secret in SECRETS if held_by(data / "audit", secret)], "encrypted from the start"


def test_forgotten_content_is_nowhere_and_the_audit_log_verifies(data: Path) -> None:
    with afterwrite.open_data(data) as reader:
        before = reader.verify_audit("trail")
    done = forget(data, ADA)
    assert done.erased["items"] == 4
    assert done.erased["parked changes"] == 2
    assert done.erased["audit keys"] == 1
    assert {
        "changes",
        "messages",
        "buffered records",
        "archived events",
        "results",
        "lake records",
        "search documents",
    } <= done.erased.keys()
    assert done.left == [f"{data / 'files' / 'outbox' / 'ada.txt'}, which a function wrote"]
    with afterwrite.open_data(data) as reader:
        counted = [event for event in reader.archived_events("events") if event["detail-type"] == "Counted"]
        assert len(counted) == 2, "those of the other's two turns"
    with open_engine(data, declared()) as engine:
        reader = engine.reader()
        wait_until(lambda: settled(reader))
    assert not (data / "files" / "outbox" / "ada.txt").exists(), "the REMOVE told its function"
    for secret in SECRETS:
        assert found_in(data, secret) == []
    assert len(found_in(data, KEPT)) >= 3
    assert verify_store(data / "store").damage == []
    with afterwrite.open_data(data) as reader:
        report = reader.verify_audit("trail")
        assert report.faults == []
        assert report.entries == before.entries + 3, "what was forgotten is still there, and three REMOVEs"
        entries = [line["entry"] for line in reader.audit_entries("trail")]
        assert entries.count({"forgotten": True}) == before.entries - 2
        assert [entry for entry in entries if KEPT in json.dumps(entry)], "another's entries are read as before"
        assert {change.keys["PK"] for change in reader.changes("chat-turns") if change.event_name == "REMOVE"} == {ADA}
        assert all(change.old is None for change in reader.changes("chat-turns") if change.keys["PK"] == ADA)
        assert [item["PK"] for item in reader.items("chat-turns")] == [BOB, BOB]
        assert {id for id, _ in reader.documents("said")} == {f"chat-turns/{BOB}/TURN#{number}" for number in (1, 2)}
        assert (len(reader.search("said", "secret")), len(reader.search("said", "ada"))) == (2, 0)
        assert [row["session"] for row in lake.read(data / "lake", "analytics") if row["text"]] == [BOB, BOB]


def test_what_was_interrupted_is_completed_and_again_finds_only_what_tells_of_it(data: Path) -> None:
    (data / "store" / "compacted").mkdir()
    (data / "store" / "compacted" / "data.mdb").write_bytes(b"half of it")
    (data / "files" / "outbox" / "ada.txt").unlink()
    assert forget(data, ADA).left == []
    assert not (data / "store" / "compacted").exists()
    assert dict(forget(data, ADA).erased) == {"removals, which stay": 4}, "nobody has read them yet"
    with open_engine(data, declared()) as engine:
        reader = engine.reader()
        wait_until(lambda: settled(reader))
        told = [message.body for message in reader.messages("outside") if message.body["text"] is None]
    assert len(told) == 3, "a REMOVE of each turn"


def test_a_backup_holds_the_keys_and_a_restored_directory_is_forgotten_again(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "backup")
    forget(data, ADA)
    restore(tmp_path / "backup", tmp_path / "again")
    with afterwrite.open_data(tmp_path / "again") as reader:
        assert SECRETS[0] in json.dumps([line["entry"] for line in reader.audit_entries("trail")])
        assert reader.verify_audit("trail").faults == []
    forget(tmp_path / "again", ADA)
    assert held_by(tmp_path / "again" / "store", SECRETS[0]) == []


def test_a_tables_kinesis_records_are_forgotten_and_one_tells_of_it(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data") as engine:
        session = engine.boto3_session()
        kinesis, dynamodb = session.client("kinesis"), session.client("dynamodb")
        kinesis.create_stream(StreamName="out", ShardCount=1)
        arn = kinesis.describe_stream_summary(StreamName="out")["StreamDescriptionSummary"]["StreamARN"]
        dynamodb.create_table(
            TableName="people",
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
        dynamodb.enable_kinesis_streaming_destination(TableName="people", StreamArn=arn)

        def is_active() -> bool:
            found = dynamodb.describe_kinesis_streaming_destination(TableName="people")
            return found["KinesisDataStreamDestinations"][0]["DestinationStatus"] == "ACTIVE"

        wait_until(is_active)
        for number, text in (("7", SECRETS[0]), ("8", KEPT)):
            dynamodb.put_item(TableName="people", Item={"PK": {"N": number}, "text": {"S": text}})
    assert "data.mdb" in held_by(tmp_path / "data", SECRETS[0])
    assert forget(tmp_path / "data", "7.0").erased == {"items": 1, "kinesis records": 1}
    assert held_by(tmp_path / "data", SECRETS[0]) == []
    with open_engine(tmp_path / "data") as engine:
        kinesis = engine.boto3_session().client("kinesis")
        shard = kinesis.list_shards(StreamName="out")["Shards"][0]["ShardId"]
        iterator = kinesis.get_shard_iterator(StreamName="out", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        records = kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
        changes = [json.loads(record["Data"]) for record in records]
        assert [(each["eventName"], each["dynamodb"]["Keys"]["PK"]["N"]) for each in changes] == [
            ("INSERT", "8"),
            ("REMOVE", "7"),
        ]
        assert "OldImage" not in changes[1]["dynamodb"]


def test_what_a_mapped_function_said_of_records_that_it_failed_on_is_forgotten(tmp_path: Path) -> None:
    app = App("chat")
    turns = app.table("chat-turns", partition_key="PK", sort_key="SK")

    def quote(event: Any, context: Any) -> None:
        raise ValueError(f"cannot mail {event['Records'][0]['dynamodb']['NewImage']['email']['S']}")

    turns.event_source_mapping(quote, MaximumRetryAttempts=0)
    with open_engine(tmp_path / "data", app) as engine:
        engine.table("chat-turns").put({"PK": ADA, "SK": "1", "email": SECRETS[3]})
        wait_until(lambda: bool(list(engine.parked().entries())))
    assert held_by(tmp_path / "data", SECRETS[3])
    forget(tmp_path / "data", ADA)
    assert not held_by(tmp_path / "data", SECRETS[3])
    with afterwrite.open_data(tmp_path / "data") as reader:
        assert [each.payload["records"] for each in reader.parked_entries()] == [1]


def test_what_is_being_restored_is_to_be_whole_before(tmp_path: Path) -> None:
    path, app = tmp_path / "data", App("plain")
    app.table("notes", partition_key="PK", sort_key="SK")
    with open_engine(path, app) as engine:
        notes = ({"PK": {"S": ADA}, "SK": {"S": str(number)}} for number in range(8_000))
        engine.services.put_items("notes", notes)
        client = engine.boto3_session().client("dynamodb")
        arn = client.create_backup(TableName="notes", BackupName="before")["BackupDetails"]["BackupArn"]
        client.restore_table_from_backup(TargetTableName="again", BackupArn=arn)
    with pytest.raises(CommandError, match="again, which is being restored: start the engine until"):
        forget(path, ADA)
    with open_engine(path, app) as engine:
        client = engine.boto3_session().client("dynamodb")
        client.get_waiter("table_exists").wait(TableName="again", WaiterConfig={"Delay": 1})
    assert forget(path, ADA).erased["items"] == 16_000


def test_what_a_crash_left_of_a_copy_is_forgotten(data: Path) -> None:
    left = data / "backups" / "restoring" / ".0123456789abcdef"
    left.parent.mkdir(parents=True)
    left.write_text(SECRETS[0])
    forget(data, ADA, dry_run=True)
    assert left.exists()
    forget(data, ADA)
    assert not left.exists()


def test_a_dry_run_says_the_same_and_changes_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["forget", ADA, "--dry-run", "--json", "--data", str(data)])
    said = json.loads(capsys.readouterr().out)
    assert (ended.value.code, said["dry_run"], said["erased"]["items"]) == (1, True, 4)
    with afterwrite.open_data(data) as reader:
        assert len(list(reader.items("chat-turns"))) == 5
        assert {"forgotten": True} not in [line["entry"] for line in reader.audit_entries("trail")]
    with pytest.raises(SystemExit):
        main(["forget", ADA, "--dry-run", "--data", str(data)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"would be erased: {ADA}"
    assert {"  items: 4", "  audit keys: 1"} <= set(lines)
    assert dict(forget(data, ADA).erased) == said["erased"]


def test_what_cannot_be_forgotten_is_refused_or_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data"
    fill(path, declared(forgettable=False))
    with pytest.raises(CommandError, match="found nothing of 'SESSION#eve' in chat-notes, chat-turns"):
        forget(path, "SESSION#eve")
    with pytest.raises(CommandError, match="expected tables of chat-notes, chat-turns, got nope"):
        forget(path, ADA, only_tables=["nope"])
    with open_engine(path), pytest.raises(DataDirectoryInUse):
        forget(path, ADA)
    with pytest.raises(SystemExit) as ended:
        main(["forget", ADA, "--data", str(path)])
    assert ended.value.code == 1
    assert "entries of the audit log trail, in clear: declare it with forgettable=True" in capsys.readouterr().out
