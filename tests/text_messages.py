"""Text messages by way of the demonstration's double of SNS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import boto3

from afterwrite import Sms
from orders.text_service import TextService
from served import served


@contextmanager
def text_service(path: Path) -> Iterator[Sms]:
    """What sends texts to a running double, which keeps them in `path`."""
    with served(TextService(0, path)) as service:
        session = boto3.Session("local", "local", region_name="us-east-1")
        with closing(session.client("sns", endpoint_url=f"http://127.0.0.1:{service.server_port}")) as client:
            yield Sms(sender_id="TheShop", client=lambda: client)
