"""A mail server that is not ours (aiosmtpd), on a free loopback port: it keeps what it gets, or refuses if told to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from bench.processes import free_port

from bounds import BOUND_S


class MailServer:
    """What it has got, in order; `replies` are answers to the next messages, `recipients` to addresses."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.connections = 0
        self.replies: list[str] = []
        self.recipients: dict[str, str] = {}
        self.port = 0
        self._lock = threading.Lock()
        self._transports: list[Any] = []
        self._loop: Any = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def close_connections(self) -> None:
        """Close what is connected, as a server does that is tired of waiting."""
        closed = threading.Event()

        def close() -> None:
            for transport in self._transports:
                transport.abort()
            self._transports.clear()
            self._loop.call_soon(closed.set)

        self._loop.call_soon_threadsafe(close)
        assert closed.wait(BOUND_S)

    async def handle_EHLO(  # noqa: N802 - the hook's name
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        if session.ssl is None:  # after STARTTLS it says hello again
            self.connections += 1
        self._transports.append(server.transport)
        return responses

    async def handle_RCPT(  # noqa: N802 - the hook's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address in self.recipients:
            return self.recipients[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the hook's name
        with self._lock:
            if self.replies:
                return self.replies.pop(0)
            message = message_from_bytes(envelope.content, policy=policy.SMTP)
            assert isinstance(message, EmailMessage)
            self.messages.append(message)
            self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
        return "250 Message accepted for delivery"


@contextmanager
def mail_server(*, tls: ssl.SSLContext | None = None, user: tuple[str, str] | None = None) -> Iterator[MailServer]:
    """A running mail server; with `tls` it offers STARTTLS, with `user` (name, password) it wants a login."""
    server = MailServer()

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login.decode(), data.password.decode()) == user, handled=False)

    options: dict[str, Any] = {} if tls is None else {"tls_context": tls}
    if user is not None:
        options |= {"auth_required": True, "authenticator": authenticate}
    server.port = free_port()
    controller = Controller(server, hostname="127.0.0.1", port=server.port, **options)
    controller.start()
    server._loop = controller.loop
    try:
        yield server
    finally:
        controller.stop(no_assert=True)
