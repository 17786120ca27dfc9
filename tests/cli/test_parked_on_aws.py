"""`afterwrite parked` on the table of an app behind the Lambda handler: our own engine is DynamoDB, SQS and Lambda."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from afterwrite import App, Change, aws_lambda, open_engine
from aws_servers import AwsServer
from aws_tables import create_table
from cli.conftest import Run
from lambda_events import dynamodb_record


class Deployed:
    """An app whose one route fails on poison until it is mended, and the function that runs it."""

    def __init__(self, cli: Run) -> None:
        self._cli = cli
        self.url = self.table = ""
        self.is_mended = False
        self.handle: Callable[..., Any] = lambda *_: None
        self.shop = App("shop")
        things, numbers = self.shop.table("things", partition_key="pk", sort_key="sk"), self.shop.queue("numbers")

        @things.on()
        def send_number(change: Change) -> Any:
            if "poison" in (change.new or {}) and not self.is_mended:
                raise ValueError("poison")
            return numbers.send(int(change.keys["sk"]))

        self.aws = App("aws")
        self.aws.queue("numbers")

        @self.aws.function()
        def routes(request: Any, context: Any) -> Any:
            return self.handle(request, context)

    def start(self, server: AwsServer) -> None:
        dynamodb, self._sqs = server.client("dynamodb"), server.client("sqs")
        self.url, self.table = server.endpoint_url, create_table(dynamodb, "pk", "sk")
        self._queue = self._sqs.get_queue_url(QueueName="numbers")["QueueUrl"]
        resources = {"queue/numbers": self._queue, "ledger": create_table(dynamodb, "pk"), "parked": self.table}
        environ = {"AFTERWRITE_RESOURCES": orjson.dumps(resources).decode()}
        self.handle = aws_lambda.handler(self.shop, environ=environ)

    def deliver(self, keys: str) -> None:
        """A batch of changes, numbered from 1, one a letter; a capital letter's is poison."""
        records = [
            dynamodb_record(number, key, poison=True)
            if (key := letter.lower()) != letter
            else dynamodb_record(number, key)
            for number, letter in enumerate(keys, 1)
        ]
        assert self.handle({"Records": records}) == {"batchItemFailures": []}
        self.sent()

    def parked(self, *arguments: str) -> Any:
        return self._cli("parked", *arguments, "--table", self.table, "--endpoint-url", self.url)

    def lanes(self) -> dict[str, dict[str, Any]]:
        done = self.parked("list", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return {entry["lane"]: entry for entry in map(json.loads, done.stdout.splitlines())}

    def sent(self) -> list[int]:
        """What has been sent since the last time."""
        found: list[int] = []
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for each in messages:
                found.append(int(each["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=each["ReceiptHandle"])
        return found


@pytest.fixture
def deployed(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    deployed = Deployed(cli)
    with open_engine(tmp_path / "data", deployed.aws, listen="127.0.0.1:0", durability="relaxed") as engine:
        url = f"http://127.0.0.1:{engine.address[1]}"
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
        }.items():
            monkeypatch.setenv(name, value)
        deployed.start(AwsServer("ours", url))
        yield deployed


def test_parked_lanes_are_listed_shown_and_redriven_in_order(deployed: Deployed) -> None:
    deployed.deliver("aBbCb")
    lanes = deployed.lanes()
    assert {lane: entry["behind"] for lane, entry in lanes.items()} == {"things/b": 2, "things/c": 0}
    assert (lanes["things/b"]["kind"], lanes["things/b"]["in"], lanes["things/b"]["by"]) == (
        "change",
        "things",
        "send_number",
    )
    shown = json.loads(deployed.parked("show", "things/b", "--json").stdout)
    assert shown["payload"]["dynamodb"]["NewImage"]["poison"] == {"BOOL": True}
    assert shown["traceback"].endswith("ValueError")
    dry = deployed.parked("redrive", "--all", "--dry-run")
    assert dry.stdout.endswith("2 failures would run again\n")
    assert deployed.parked("redrive", "--all", "--function", "routes").returncode == 0
    assert set(deployed.lanes()) == {"things/b", "things/c"}, "what fails again is parked again"
    assert deployed.sent() == []
    deployed.is_mended = True
    redriven = deployed.parked("redrive", "things/b", "--function", "routes", "--json")
    assert json.loads(redriven.stdout) == {"redriven": 1, "behind_newer": 0}
    assert (set(deployed.lanes()), deployed.sent()) == ({"things/c"}, [2, 3, 5])


def test_dropped_changes_are_gone_and_what_waits_behind_them_runs(deployed: Deployed) -> None:
    deployed.deliver("BbCcDd")
    dropped = deployed.parked("drop", "things/b", "--function", "routes")
    assert dropped.stdout == "dropped: 1 failure\n"
    assert (set(deployed.lanes()), deployed.sent()) == ({"things/c", "things/d"}, [2])
    deployed.parked("drop", "things/c")
    assert deployed.lanes()["things/c"]["condition"] == "its predecessor was dropped"
    assert deployed.sent() == [], "without a function it waits"
    assert json.loads(deployed.parked("drop", "--all", "--whole-lane", "--json").stdout) == {"dropped": 2}
    assert (deployed.lanes(), deployed.sent()) == ({}, [])
    assert deployed.parked("list").stdout == "nothing is parked\n"


def test_private_attributes_are_masked_where_the_app_is_given_and_else_said_to_be_shown(
    deployed: Deployed, tmp_path: Path
) -> None:
    deployed.handle({"Records": [dynamodb_record(1, "b", poison=True, email="ada@example.org")]})
    clear = deployed.parked("show", "--json")
    assert "ada@example.org" in clear.stdout
    assert clear.stderr.startswith("note: nothing is masked here")
    app = tmp_path / "shop_app.py"
    app.write_text(
        "from afterwrite import App\n"
        "app = App('shop')\n"
        "things = app.table('things', partition_key='pk', sort_key='sk', private=('email',))\n"
    )
    masked = deployed.parked("show", "--json", "--app", str(app))
    assert json.loads(masked.stdout)["payload"]["dynamodb"]["NewImage"]["email"] == {"S": "***"}
    assert (masked.returncode, masked.stderr, "ada@" in masked.stdout) == (0, "", False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("redrive", "--all", "--table", "parked"), "expected --function beside --table"),
        (("show", "--app", "app.py"), "expected --table beside --app"),
        (("list", "--endpoint-url", "http://127.0.0.1:1"), "expected --table beside --endpoint-url"),
    ],
)
def test_wrong_use_says_what_is_missing(cli: Run, deployed: Deployed, arguments: tuple[str, ...], message: str) -> None:
    arguments = tuple(deployed.table if each == "parked" else each for each in arguments)
    done = cli("parked", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"afterwrite: {message}")


def test_a_table_or_a_function_that_is_not_there_is_one_line(cli: Run, deployed: Deployed) -> None:
    absent = cli("parked", "list", "--table", "absent", "--endpoint-url", deployed.url)
    assert (absent.returncode, absent.stderr.count("\n")) == (2, 1)
    assert "make the table, or correct its name" in absent.stderr
    deployed.deliver("B")
    failed = deployed.parked("redrive", "--all", "--function", "absent")
    assert failed.returncode == 2
    assert "absent could not be invoked" in failed.stderr


def test_without_a_region_it_is_said_how_to_give_one(cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    done = cli("parked", "list", "--table", "lanes")
    assert done.returncode == 2
    assert done.stderr.startswith("afterwrite: expected the region of --table, got none: set AWS_DEFAULT_REGION")
