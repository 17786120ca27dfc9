"""The AWS CLI works unchanged: an endpoint, and any credentials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bounds import BOUND_S
from engine_process import EngineUnderTest

Aws = Callable[..., Any]


@pytest.fixture(scope="module")
def aws(engine: EngineUnderTest) -> Aws:
    """Run `aws SERVICE …` against the engine; its answer, or its error as text."""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_PAGER": "",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ENDPOINT_URL": engine.url,
    }
    command = Path(sys.executable).with_name("aws")

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [command, *arguments, "--output", "json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
        if done.returncode:
            return done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


def test_a_table_is_made_written_read_and_deleted(aws: Aws) -> None:
    created = aws(
        *("dynamodb", "create-table", "--table-name", "music", "--billing-mode", "PAY_PER_REQUEST"),
        *("--key-schema", "AttributeName=artist,KeyType=HASH", "AttributeName=song,KeyType=RANGE"),
        *("--attribute-definitions", "AttributeName=artist,AttributeType=S", "AttributeName=song,AttributeType=S"),
        *("--global-secondary-indexes", "IndexName=songs,KeySchema=[{AttributeName=song,KeyType=HASH}],"
          "Projection={ProjectionType=ALL}"),
        *("--stream-specification", "StreamEnabled=true,StreamViewType=KEYS_ONLY"),
    )  # fmt: skip
    assert created["TableDescription"]["TableStatus"] == "CREATING"
    item = '{"artist": {"S": "A"}, "song": {"S": "1"}, "n": {"N": "1"}}'
    assert aws("dynamodb", "put-item", "--table-name", "music", "--item", item) is None
    batch = {"music": [{"PutRequest": {"Item": {"artist": {"S": "A"}, "song": {"S": str(n)}}}} for n in (2, 3)]}
    assert aws("dynamodb", "batch-write-item", "--request-items", json.dumps(batch))["UnprocessedItems"] == {}
    updated = aws(
        *("dynamodb", "update-item", "--table-name", "music", "--key", '{"artist": {"S": "A"}, "song": {"S": "1"}}'),
        *("--update-expression", "ADD n :one", "--expression-attribute-values", '{":one": {"N": "1"}}'),
        *("--return-values", "UPDATED_NEW"),
    )
    assert updated["Attributes"] == {"n": {"N": "2"}}
    # The CLI pages by itself.
    found = aws(
        *("dynamodb", "query", "--table-name", "music", "--key-condition-expression", "artist = :a"),
        *("--expression-attribute-values", '{":a": {"S": "A"}}', "--no-scan-index-forward", "--page-size", "1"),
    )
    assert [each["song"]["S"] for each in found["Items"]] == ["3", "2", "1"]
    indexed = aws(
        *("dynamodb", "query", "--table-name", "music", "--index-name", "songs"),
        *("--key-condition-expression", "song = :s", "--expression-attribute-values", '{":s": {"S": "1"}}'),
    )
    assert [each["n"] for each in indexed["Items"]] == [{"N": "2"}]
    failed = aws(
        *("dynamodb", "put-item", "--table-name", "music", "--item", item),
        *("--condition-expression", "attribute_not_exists(artist)"),
    )
    assert "(ConditionalCheckFailedException)" in failed
    streams = aws("dynamodbstreams", "list-streams", "--table-name", "music")["Streams"]
    assert [stream["TableName"] for stream in streams] == ["music"]
    assert aws("dynamodb", "delete-table", "--table-name", "music")["TableDescription"]["TableName"] == "music"
    assert "music" not in aws("dynamodb", "list-tables")["TableNames"]


def test_an_error_is_shown_by_its_name(aws: Aws) -> None:
    assert "(ResourceNotFoundException)" in aws("dynamodb", "describe-table", "--table-name", "nowhere")
