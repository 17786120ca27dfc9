"""The AWS CLI works unchanged: an endpoint, and any credentials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.wiring import Engine

Aws = Callable[..., Any]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """Run `aws dynamodb …` against an engine; its answer, or its error as text."""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_PAGER": "",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    command = Path(sys.executable).with_name("aws")
    with Engine(App("cli"), Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        url = f"http://{engine.address[0]}:{engine.address[1]}"

        def run(*arguments: str) -> Any:
            done = subprocess.run(
                [command, "dynamodb", *arguments, "--endpoint-url", url, "--output", "json"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if done.returncode:
                return done.stderr
            return json.loads(done.stdout) if done.stdout.strip() else None

        yield run


def test_a_table_is_made_written_read_and_deleted(aws: Aws) -> None:
    created = aws(
        *("create-table", "--table-name", "music", "--billing-mode", "PAY_PER_REQUEST"),
        *("--key-schema", "AttributeName=artist,KeyType=HASH", "AttributeName=song,KeyType=RANGE"),
        *("--attribute-definitions", "AttributeName=artist,AttributeType=S", "AttributeName=song,AttributeType=S"),
    )
    assert created["TableDescription"]["TableStatus"] == "CREATING"
    item = '{"artist": {"S": "A"}, "song": {"S": "1"}, "n": {"N": "1"}}'
    assert aws("put-item", "--table-name", "music", "--item", item) is None
    batch = {"music": [{"PutRequest": {"Item": {"artist": {"S": "A"}, "song": {"S": str(n)}}}} for n in (2, 3)]}
    assert aws("batch-write-item", "--request-items", json.dumps(batch))["UnprocessedItems"] == {}
    updated = aws(
        *("update-item", "--table-name", "music", "--key", '{"artist": {"S": "A"}, "song": {"S": "1"}}'),
        *("--update-expression", "ADD n :one", "--expression-attribute-values", '{":one": {"N": "1"}}'),
        *("--return-values", "UPDATED_NEW"),
    )
    assert updated["Attributes"] == {"n": {"N": "2"}}
    # The CLI pages by itself.
    found = aws(
        *("query", "--table-name", "music", "--key-condition-expression", "artist = :a", "--page-size", "1"),
        *("--expression-attribute-values", '{":a": {"S": "A"}}', "--no-scan-index-forward"),
    )
    assert [each["song"]["S"] for each in found["Items"]] == ["3", "2", "1"]
    failed = aws(
        *("put-item", "--table-name", "music", "--item", item),
        *("--condition-expression", "attribute_not_exists(artist)"),
    )
    assert "(ConditionalCheckFailedException)" in failed
    assert aws("delete-table", "--table-name", "music")["TableDescription"]["TableName"] == "music"
    assert aws("list-tables")["TableNames"] == []


def test_an_error_is_shown_by_its_name(aws: Aws) -> None:
    assert "(ResourceNotFoundException)" in aws("describe-table", "--table-name", "nowhere")
