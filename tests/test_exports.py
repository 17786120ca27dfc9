"""Tables out to files in the form of DynamoDB's exports to S3, and back."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, Change, Effect, open_engine
from afterwrite.cli.transfer import export, import_
from afterwrite.errors import CommandError, CorruptData, DataDirectoryInUse, ServiceError, StorageFull
from bounds import BOUND_S
from engine_process import wait_until
from moments import next_second
from tables_engine import KEYS

ITEMS: list[dict[str, Any]] = [
    {"pk": {"S": "ä"}, "sk": {"S": "1"}, "n": {"N": "12345678901234567890.123456789"}, "b": {"B": "AP8="}},
    {"pk": {"S": "b"}, "sk": {"S": "2"}, "set": {"SS": ["x", "y"]}, "numbers": {"NS": ["1", "2.5"]}, "t": {"N": "1"}},
    {"pk": {"S": "b"}, "sk": {"S": "3"}, "m": {"M": {"l": {"L": [{"NULL": True}, {"BOOL": False}]}}}},
]


def fill(data: Path, count: int = 0) -> None:
    with open_engine(data) as engine:
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        engine.services.execute("CreateTable", {"TableName": "things", "StreamSpecification": stream, **KEYS})
        specification = {"Enabled": True, "AttributeName": "ttl"}
        engine.services.execute("UpdateTimeToLive", {"TableName": "things", "TimeToLiveSpecification": specification})
        engine.services.put_items("things", json.loads(json.dumps(ITEMS)))
        engine.table("things").put_many(
            {"pk": "many", "sk": f"{number:05d}", "x": "x" * 500} for number in range(count)
        )


def scanned(data: Path, table: str = "things") -> list[dict[str, Any]]:
    with open_engine(data) as engine:
        items: list[dict[str, Any]] = engine.services.execute("Scan", {"TableName": table})["Items"]
        return items


def only_export(out: Path) -> Path:
    (found,) = (out / "AWSDynamoDB").iterdir()
    return found


def test_a_table_goes_out_and_comes_back_the_same(tmp_path: Path) -> None:
    fill(tmp_path / "a", 1_200)
    export("things", tmp_path / "out", data=tmp_path / "a")
    import_(tmp_path / "out", "things", data=tmp_path / "b")
    assert scanned(tmp_path / "a") == scanned(tmp_path / "b")
    with open_engine(tmp_path / "b") as engine:
        table = engine.services.execute("DescribeTable", {"TableName": "things"})["Table"]
        assert table["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"
        assert engine.services.execute("DescribeTimeToLive", {"TableName": "things"})["TimeToLiveDescription"] == {
            "TimeToLiveStatus": "ENABLED",
            "AttributeName": "ttl",
        }
        assert sum(1 for _ in engine.reader().changes("things")) == len(ITEMS) + 1_200


def test_a_table_goes_out_as_it_was(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data") as engine:
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        engine.services.execute("CreateTable", {"TableName": "things", "StreamSpecification": stream, **KEYS})
        engine.services.put_items("things", json.loads(json.dumps(ITEMS)))
        at = next_second().isoformat()
        engine.table("things").delete({"pk": "ä", "sk": "1"})
        engine.table("things").put({"pk": "b", "sk": "2", "set": "gone"})
    export("things", tmp_path / "out", at=at, data=tmp_path / "data")
    import_(tmp_path / "out", "things", data=tmp_path / "again")
    assert sorted(scanned(tmp_path / "again"), key=str) == sorted(ITEMS, key=str) != scanned(tmp_path / "data")
    with pytest.raises(CommandError, match=r"expected a time between .*, of which the change log of things tells"):
        export("things", tmp_path / "out", at="2020-01-01", data=tmp_path / "data")


def test_a_table_without_old_images_is_not_known_as_it_was(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    with pytest.raises(CommandError, match="expected a table with a stream of its own that has old images"):
        export("things", tmp_path / "out", at="2026-11-21T17:00:00Z", data=tmp_path / "data")


def test_the_files_are_those_of_dynamodbs_exports(tmp_path: Path) -> None:
    """The names, members and checksums that the developer guide gives for the export output format."""
    fill(tmp_path / "a")
    export("things", tmp_path / "out", data=tmp_path / "a")
    directory = only_export(tmp_path / "out")
    summary = json.loads((directory / "manifest-summary.json").read_bytes())
    assert summary["outputFormat"] == "DYNAMODB_JSON"
    assert summary["itemCount"] == len(ITEMS)
    assert summary["manifestFilesS3Key"] == f"AWSDynamoDB/{directory.name}/manifest-files.json"
    assert summary["exportArn"] == f"{summary['tableArn']}/export/{directory.name}"
    for name in ("manifest-summary", "manifest-files"):
        digest = hashlib.md5((directory / f"{name}.json").read_bytes()).digest()
        assert base64.b64decode((directory / f"{name}.md5").read_bytes()) == digest
    (file,) = [json.loads(line) for line in (directory / "manifest-files.json").read_text().splitlines()]
    content = (tmp_path / "out" / file["dataFileS3Key"]).read_bytes()
    assert file["itemCount"] == len(ITEMS)
    assert base64.b64decode(file["md5Checksum"]) == hashlib.md5(content).digest()
    lines = [json.loads(line) for line in gzip.decompress(content).decode().splitlines()]
    assert sorted(line["Item"]["sk"]["S"] for line in lines) == ["1", "2", "3"]


def test_an_export_of_aws_is_imported_with_the_keys_given(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    export("things", tmp_path / "out", data=tmp_path / "a")
    (only_export(tmp_path / "out") / "table.json").unlink()
    with pytest.raises(CommandError, match="--partition-key"):
        import_(tmp_path / "out", "copy", data=tmp_path / "b")
    import_(only_export(tmp_path / "out"), "copy", partition_key="pk", sort_key="sk:S", data=tmp_path / "b")
    assert scanned(tmp_path / "b", "copy") == scanned(tmp_path / "a")


def test_a_table_that_is_there_takes_the_items_in(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    export("things", tmp_path / "out", data=tmp_path / "a")
    with open_engine(tmp_path / "a") as engine:
        engine.table("things").put({"pk": "own", "sk": "1"})
        engine.table("things").delete({"pk": "ä", "sk": "1"})
    import_(tmp_path / "out", "things", data=tmp_path / "a")
    assert len(scanned(tmp_path / "a")) == len(ITEMS) + 1


def test_a_table_that_is_there_with_another_key_takes_no_items_in_unless_told(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    export("things", tmp_path / "out", data=tmp_path / "a")
    keys = {
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    with open_engine(tmp_path / "a") as engine:
        engine.services.execute("CreateTable", {"TableName": "by_pk", **keys})
    with pytest.raises(CommandError, match=r"with the key pk:S, the export's has pk:S, sk:S: .*--partition-key pk:S"):
        import_(tmp_path / "out", "by_pk", data=tmp_path / "a")
    with pytest.raises(CommandError, match="with the key pk:S, sk:S, --partition-key and --sort-key say pk:S: leave"):
        import_(tmp_path / "out", "things", partition_key="pk", data=tmp_path / "a")
    assert scanned(tmp_path / "a", "by_pk") == []
    import_(tmp_path / "out", "by_pk", partition_key="pk", data=tmp_path / "a")
    assert len(scanned(tmp_path / "a", "by_pk")) == 2
    (only_export(tmp_path / "out") / "table.json").write_text("{")
    with pytest.raises(CorruptData, match=r"table\.json is damaged"):
        import_(tmp_path / "out", "by_pk", data=tmp_path / "a")


def test_a_key_that_the_items_do_not_have_leaves_no_table_behind(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    export("things", tmp_path / "out", data=tmp_path / "a")
    with pytest.raises(ServiceError, match="Missing the key nope in the item"):
        import_(tmp_path / "out", "things", partition_key="nope", data=tmp_path / "b")
    import_(tmp_path / "out", "things", data=tmp_path / "b")
    assert scanned(tmp_path / "b") == scanned(tmp_path / "a")


def test_items_that_are_put_stay_where_a_later_one_cannot_be(tmp_path: Path) -> None:
    with open_engine(tmp_path / "a") as engine:
        engine.services.execute("CreateTable", {"TableName": "things", **KEYS})
        engine.table("things").put_many({"pk": "a", "sk": f"{number:05d}", "x": "x"} for number in range(2_000))
        engine.table("things").put({"pk": "a", "sk": "99999"})
    export("things", tmp_path / "out", data=tmp_path / "a")
    with pytest.raises(ServiceError, match="Missing the key x in the item"):
        import_(tmp_path / "out", "things", partition_key="pk", sort_key="x", data=tmp_path / "b")
    assert scanned(tmp_path / "b")


def test_a_damaged_or_missing_data_file_is_found_before_anything_is_put(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    export("things", tmp_path / "out", data=tmp_path / "a")
    (path,) = (only_export(tmp_path / "out") / "data").iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptData, match="MD5"):
        import_(tmp_path / "out", "things", data=tmp_path / "b")
    path.unlink()
    with pytest.raises(CorruptData, match="not there"):
        import_(tmp_path / "out", "things", data=tmp_path / "b")
    with open_engine(tmp_path / "b") as engine:
        assert not engine.services.has_table("things")


@pytest.mark.parametrize(
    "line", [b"5", b"{}", b'{"md5Checksum":"x"}', b'{"dataFileS3Key":"a/data/x.json.gz"}', b'{"dataFileS3Key":7}']
)
def test_a_manifest_that_names_no_data_file_is_said_to_be_damaged(tmp_path: Path, line: bytes) -> None:
    fill(tmp_path / "a")
    export("things", tmp_path / "out", data=tmp_path / "a")
    path = only_export(tmp_path / "out") / "manifest-files.json"
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(CorruptData, match=r"manifest-files\.json is damaged"):
        import_(tmp_path / "out", "things", data=tmp_path / "b")


@pytest.mark.parametrize("kept", [0, 40, -6])
def test_a_data_file_that_gzip_does_not_read_is_named(tmp_path: Path, kept: int) -> None:
    """Whoever made the export has compressed it wrongly, as its checksum is right."""
    fill(tmp_path / "a")
    export("things", tmp_path / "out", data=tmp_path / "a")
    directory = only_export(tmp_path / "out")
    (path,) = (directory / "data").iterdir()
    content = path.read_bytes()[:kept] if kept else b'{"Item":{"pk":{"S":"a"}}}\n'
    path.write_bytes(content)
    manifest = directory / "manifest-files.json"
    file = json.loads(manifest.read_bytes())
    file["md5Checksum"] = base64.b64encode(hashlib.md5(content).digest()).decode()
    manifest.write_text(json.dumps(file))
    with pytest.raises(CorruptData, match=rf"{path.name} is no whole file of gzip's.*export again"):
        import_(tmp_path / "out", "things", data=tmp_path / "b")


def test_a_running_engines_table_may_be_exported_but_not_imported_beside_it(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with open_engine(tmp_path / "a"):
        command = [sys.executable, "-m", "afterwrite", "export", "things", str(tmp_path / "out"), "--data"]
        subprocess.run([*command, str(tmp_path / "a")], check=True, timeout=BOUND_S)
        with pytest.raises(DataDirectoryInUse):
            import_(tmp_path / "out", "things", data=tmp_path / "a")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with pytest.raises(ServiceError, match="nothing"):
        export("nothing", tmp_path / "out", data=tmp_path / "a")
    with pytest.raises(CommandError, match="manifest-files"):
        import_(tmp_path / "a", "things", data=tmp_path / "a")
    with pytest.raises(CommandError, match="manifest-files"):
        import_(tmp_path / "a", "things", data=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(CommandError, match="type S, N or B"):
        import_(tmp_path / "a", "things", partition_key="pk:X", data=tmp_path / "a")


def test_an_export_that_fails_leaves_nothing_that_takes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "a")

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("afterwrite.store.export_files.write_file", full)
    with pytest.raises(StorageFull):
        export("things", tmp_path / "out", data=tmp_path / "a")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_tables_of_several_files_come_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterwrite.store.export_files._FILE_BYTES", 100_000)
    fill(tmp_path / "a", 1_000)
    export("things", tmp_path / "out", data=tmp_path / "a")
    assert len(list((only_export(tmp_path / "out") / "data").iterdir())) > 3
    import_(tmp_path / "out", "things", data=tmp_path / "b")
    assert scanned(tmp_path / "a") == scanned(tmp_path / "b")


def test_an_app_runs_on_what_was_imported_from_an_export_of_aws(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    export("things", tmp_path / "out", data=tmp_path / "a")
    (only_export(tmp_path / "out") / "table.json").unlink()
    import_(tmp_path / "out", "things", partition_key="pk", sort_key="sk", data=tmp_path / "b")
    app = App("imported")
    seen = app.queue("seen")

    @app.table("things", partition_key="pk", sort_key="sk").on()
    def see(change: Change) -> Effect:
        return seen.send([change.keys["pk"], change.keys["sk"]])

    with open_engine(tmp_path / "b", app) as engine:
        wait_until(engine.reader().idle)
        assert sorted(message.body for message in engine.reader().messages("seen")) == [
            ["b", "2"],
            ["b", "3"],
            ["ä", "1"],
        ]
