"""What the newest SDK knows of the services, and ours does not: whether somebody has looked at it. Run: `make drift`.

The SDK of the lock files is older than the services. What has come since is in `looked_at.txt`, a line each, once it is
served, answered as where there is none of it, or left alone on purpose.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore
import orjson
import pytest

SERVICES = ("dynamodb", "dynamodbstreams", "kinesis", "sqs", "sns", "events", "firehose")
LOOKED_AT = Path(__file__).with_name("looked_at.txt")
CONSTRAINTS = ("required", "enum", "min", "max", "pattern")

pytestmark = pytest.mark.skipif(
    not os.environ.get("AFTERWRITE_DRIFT"), reason="it fetches the newest SDK, and fails when AWS has something new"
)


def test_what_the_services_have_had_since_our_sdk_was_looked_at(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), "botocore"]
    subprocess.run(install, check=True, timeout=300)
    ours = Path(botocore.__file__).parent
    found = {line for service in SERVICES for line in since(service, ours, tmp_path / "botocore")}
    unseen = found - set(LOOKED_AT.read_text().splitlines())
    assert not unseen, f"serve it, refuse it or leave it, then add these lines to {LOOKED_AT}:\n" + "\n".join(
        sorted(unseen)
    )


def since(service: str, ours: Path, newest: Path) -> Iterator[str]:
    """What the newest model of a service has that ours does not, or has otherwise."""
    before, after = model(ours, service), model(newest, service)
    for name in after["operations"].keys() - before["operations"].keys():
        yield f"{service} operation {name}"
    for name, shape in after["shapes"].items():
        old = before["shapes"].get(name)
        if old is None:
            continue  # a member or an operation that is new tells of it
        for member in shape.get("members", {}).keys() - old.get("members", {}).keys():
            yield f"{service} {name}.{member}"
        for constraint in CONSTRAINTS:
            if shape.get(constraint) != old.get(constraint):
                yield f"{service} {name} {constraint} {text(shape.get(constraint))}"


def model(sdk: Path, service: str) -> Mapping[str, Any]:
    """The SDK's newest model of a service."""
    newest = max((sdk / "data" / service).iterdir())
    packed: Mapping[str, Any] = orjson.loads(gzip.decompress((newest / "service-2.json.gz").read_bytes()))
    return packed


def text(constraint: Any) -> str:
    """A constraint on one line."""
    return orjson.dumps(constraint).decode()
