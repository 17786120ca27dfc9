"""S3: digests of audit logs as objects that nobody can change before their time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from afterwrite.errors import StorageError


class S3Anchors:
    """The AnchorStore in a bucket with Object Lock, whose default retention is what protects a digest (S38).

    A digest is the object `<prefix><log>/digest-<number, 20 digits>.json`. Object Lock keeps a version, and lets
    anybody put another beside it: of each object the oldest version counts.
    """

    def __init__(self, client: Callable[[], Any], bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"

    def put(self, log: str, number: int, digest: bytes) -> None:
        """Put the digest, unless the object is there."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client().put_object(
                Bucket=self._bucket,
                Key=f"{self._folder(log)}digest-{number:020d}.json",
                Body=digest,
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except (BotoCoreError, ClientError) as error:
            if getattr(error, "response", {}).get("Error", {}).get("Code") != "PreconditionFailed":
                raise self._failed(error) from error

    def latest(self, log: str) -> bytes | None:
        """The oldest version of the log's last object."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = self._client()
            pages = client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=self._folder(log))
            versions = [version for page in pages for version in page.get("Versions", [])]
            if not versions:
                return None
            last = max(version["Key"] for version in versions)
            oldest = min((each for each in versions if each["Key"] == last), key=lambda each: each["LastModified"])
            found = client.get_object(Bucket=self._bucket, Key=last, VersionId=oldest["VersionId"])
            content: bytes = found["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise self._failed(error) from error
        return content

    def _folder(self, log: str) -> str:
        return f"{self._prefix}{log}/"

    def _failed(self, error: Exception) -> StorageError:
        return StorageError(
            f"expected to read and write digests in the bucket {self._bucket}, got: {error}; check its name, the "
            "credentials, and that they may do s3:PutObject, s3:GetObjectVersion and s3:ListBucketVersions"
        )
