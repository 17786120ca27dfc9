from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import afterwrite
from cli.conftest import APP, Run
from engine_process import EngineUnderTest, wait_until


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped engine's directory with three audit entries."""
    path = tmp_path_factory.mktemp("stopped")
    with EngineUnderTest(Path(shutil.copy(APP, path)), path / "data") as engine:
        for number in range(3):
            engine.put("orders", PK=f"a-{number}", SK="good")
        with afterwrite.open_data(engine.data) as reader:
            wait_until(lambda: reader.audit_head("trail").number == 3)
        engine.stop()
    return engine.data


@pytest.fixture
def data(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it, the test's own."""
    return Path(shutil.copytree(stopped, tmp_path / "data"))


def test_a_whole_log(data: Path, cli: Run) -> None:
    done = cli("audit", "verify", "trail", "--data", data, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    (log,) = found["logs"]
    assert found["ok"]
    assert (log["log"], log["entries"], log["segments"], log["head"], log["faults"]) == ("trail", 3, 1, 3, [])
    last_line = json.loads(next((data / "audit" / "trail").glob("*.jsonl")).read_bytes().splitlines()[-1])
    assert (log["head_hash"], log["last_at"]) == (last_line["hash"], last_line["at"])
    text = cli("audit", "verify", "--data", data).stdout
    assert text.startswith("trail: verified\n")
    assert last_line["hash"] in text


def test_a_changed_entry_is_named_by_file_and_line(data: Path, cli: Run) -> None:
    (segment,) = (data / "audit" / "trail").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"a-1", b"a-7"))
    done = cli("audit", "verify", "--data", data)
    assert done.returncode == 1
    assert f"changed_entry {segment.name}:2: expected entry 2" in done.stdout
    found = json.loads(cli("audit", "verify", "--data", data, "--json").stdout)
    assert not found["ok"]
    assert [(fault["kind"], fault["line"]) for fault in found["logs"][0]["faults"]] == [("changed_entry", 2)]


def test_a_log_without_its_files_is_no_whole_log(data: Path, cli: Run) -> None:
    for path in (data / "audit" / "trail").iterdir():
        path.unlink()
    done = cli("audit", "verify", "--data", data)
    assert done.returncode == 1
    assert "missing_segment" in done.stdout
    (data / "audit" / "trail").rmdir()
    again = cli("audit", "verify", "--data", data)
    assert (again.returncode, again.stdout, again.stderr) == (1, done.stdout, "")


def test_a_log_without_an_entry_needs_no_files(app: Path, tmp_path: Path, cli: Run) -> None:
    with EngineUnderTest(app, tmp_path / "data") as engine:
        engine.stop()
    (engine.data / "audit" / "trail").rmdir()
    done = cli("audit", "verify", "--data", engine.data)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("trail: verified\n  entries    none yet\n")
    history = cli("audit", "history", "a", "--data", engine.data)
    assert (history.returncode, "they name no item's keys at all" in history.stderr) == (2, True)


def test_a_log_that_is_not_there(written: EngineUnderTest, cli: Run) -> None:
    done = cli("audit", "verify", "nope", "--data", written.data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "afterwrite: expected an audit log of this app (trail), got 'nope'\n"


@pytest.mark.parametrize("place", ["s4://bucket/digests", "https://example.org", "s3://"])
def test_a_place_that_no_digest_can_be_anchored_in_is_refused(
    place: str, app: Path, tmp_path: Path, cli_process: Run
) -> None:
    data = tmp_path / "data"
    done = cli_process("run", app, "--data", data, "--listen", "127.0.0.1:0", "--audit-anchor", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"afterwrite: expected a file or s3://BUCKET/PREFIX to anchor digests in, got {place!r}\n"


def test_a_stopped_engines_log_is_signed_and_anchored(app: Path, tmp_path: Path, cli: Run) -> None:
    anchors = tmp_path / "elsewhere" / "anchors"
    with EngineUnderTest(app, tmp_path / "data", environment={"AFTERWRITE_AUDIT_ANCHOR": str(anchors)}) as engine:
        engine.put("orders", PK="a", SK="good")
        with afterwrite.open_data(engine.data) as reader:
            wait_until(lambda: reader.audit_head("trail").number == 1)
        engine.stop()
    verify = ("audit", "verify", "--anchor", anchors, "--data", engine.data)
    (log,) = json.loads(cli(*verify, "--json").stdout)["logs"]
    while not log["digests"]:  # a stop is bounded in time: what a busy machine leaves undone the next one does
        engine.start()
        engine.stop()
        (log,) = json.loads(cli(*verify, "--json").stdout)["logs"]
    assert (log["ok"], log["digests"], log["signed"], log["anchored"]) == (True, 1, 1, True)
    assert "up to entry 1 by 1 digest, the last is anchored elsewhere" in cli(*verify).stdout
    mistyped = cli(*verify[:3], tmp_path / "elsewhere" / "anchor", *verify[4:])
    assert mistyped.returncode == 1
    assert "missing_anchor" in mistyped.stdout
    (public,) = (engine.data / "keys").glob("*.pub.pem")
    assert cli(*verify, "--key", public).returncode == 0
    (digest,) = (engine.data / "audit" / "trail").glob("audit-digest-*.json")
    digest.unlink()
    done = cli(*verify)
    assert done.returncode == 1
    assert f"missing_digest {digest.name}: expected digests up to 1" in done.stdout


LEDGER_APP = """
from afterwrite import App

app = App("ledger")
accounts = app.table("accounts", partition_key="PK", sort_key="SK")
trail = app.audit_log("trail")

@accounts.on(sort_key="META")
def keep(change):
    return trail.append(
        event_name=change.event_name, table=change.table, keys=change.keys_image,
        before=change.old_image, after=change.new_image, by=change.user_identity,
    )
"""


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running engine's directory with an audited item that came, changed and went, and one that is not audited."""
    path = tmp_path_factory.mktemp("life")
    app = path / "ledger_app.py"
    app.write_text(LEDGER_APP)
    with EngineUnderTest(app, path / "data") as engine:
        engine.put("accounts", PK="ada", SK="META", owner="Ada", updatedBy="clerk-7")
        engine.put("accounts", PK="ada", SK="META", owner="Ada L.", updatedBy="clerk-8")
        engine.put("accounts", PK="ada", SK="NOTE", text="only in the change log")
        engine.put("accounts", PK="adam", SK="META", owner="Adam")
        with afterwrite.open_data(engine.data) as reader:
            wait_until(lambda: reader.idle() and reader.audit_head("trail").number == 3)
        yield engine.data


def test_an_items_life_with_before_after_and_who(life: Path, cli: Run) -> None:
    done = cli("audit", "history", "ada", "META", "--by", "updatedBy", "--data", life)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].endswith("  INSERT  accounts  PK=ada SK=META  by clerk-7  (trail 1)")
    assert "    owner: Ada" in lines
    assert "    owner: Ada -> Ada L." in lines
    assert "    updatedBy: clerk-7 -> clerk-8" in lines
    assert lines[-1] == "2 changes"


def test_an_items_life_as_json_and_from_the_change_log(life: Path, cli: Run) -> None:
    done = cli("audit", "history", "ada", "--data", life, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(event["event_name"], event["source"], event["keys"]["SK"]) for event in events] == [
        ("INSERT", "trail", "META"),
        ("MODIFY", "trail", "META"),
        ("INSERT", "change log", "NOTE"),
    ]
    assert (events[1]["before"]["owner"], events[1]["after"]["owner"]) == ("Ada", "Ada L.")
    only_audited = cli("audit", "history", "ada", "--log", "trail", "--data", life, "--json").stdout.splitlines()
    assert len(only_audited) == 2


@pytest.mark.parametrize(
    ("arguments", "helped"),
    [
        (["adah"], "got adah: did you mean ada or adam?"),
        (["ada", "NONE"], "got ada with the sort key NONE: leave out the sort key"),
        (["ada", "--log", "nope"], "expected an audit log of this app (trail), got 'nope'"),
    ],
)
def test_a_key_that_nothing_is_known_of(life: Path, cli: Run, arguments: list[str], helped: str) -> None:
    done = cli("audit", "history", *arguments, "--data", life)
    assert (done.returncode, done.stdout) == (2, "")
    assert helped in done.stderr


def test_an_entry_without_images_gets_them_from_the_change_log(data: Path, cli: Run) -> None:
    (event,) = map(json.loads, cli("audit", "history", "a-1", "--data", data, "--json").stdout.splitlines())
    assert (event["source"], event["number"], event["keys"]) == ("trail", 2, {"PK": "a-1", "SK": "good"})
    assert (event["before"], event["after"]) == (None, {"PK": "a-1", "SK": "good"})
