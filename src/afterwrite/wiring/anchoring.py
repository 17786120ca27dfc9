"""Where digests of audit logs are anchored: a file, or a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from afterwrite.core.ports import AnchorStore
from afterwrite.errors import CommandError
from afterwrite.local.audit.anchors import FileAnchors
from afterwrite.targets.s3_anchors import S3Anchors

_S3: Final = "s3://"
_CONNECT_S_MAX: Final = 5
_READ_S_MAX: Final = 15


def anchor_store(place: str) -> AnchorStore:
    """The anchor store at `place`, a file's path or s3://BUCKET/PREFIX. Raises CommandError for what is neither."""
    if "://" not in place:
        return FileAnchors(Path(place))
    bucket, _, prefix = place.removeprefix(_S3).partition("/")
    if not bucket or not place.startswith(_S3):
        raise CommandError(f"expected a file or s3://BUCKET/PREFIX to anchor digests in, got {place!r}")
    clients: list[Any] = []

    def client() -> Any:
        if not clients:
            clients.append(_s3_client(place))
        return clients[0]

    return S3Anchors(client, bucket, prefix)


def _s3_client(place: str) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise CommandError(f"to anchor digests in {place}, install boto3: pip install 'afterwrite[aws]'") from None
    retries: Any = {"mode": "standard", "total_max_attempts": 2}
    return boto3.client("s3", config=Config(connect_timeout=_CONNECT_S_MAX, read_timeout=_READ_S_MAX, retries=retries))
