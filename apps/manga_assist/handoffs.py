"""A hand-off's message, and what its three subscribers do with it: dashboard, customer mail, escalation.

A message can come more than once, so each consumer does its work under a key or file name made from the
hand-off, and finds on the second time that it is done.
"""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from dataclasses import dataclass
from email import policy
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from afterwrite import Change, ConditionalCheckFailed
from manga_assist import keys
from manga_assist.files import write_durably
from manga_assist.settings import Settings

SMTP_TIMEOUT_S = 10.0


class _TextHeaders(HeaderRegistry):
    """Takes headers as the text they are: to parse addresses that were just put together is most of a mail's cost.

    A line break in one is refused all the same. All are of one class, where the registry makes one for each header.
    """

    def __init__(self) -> None:
        super().__init__(use_default_map=False)
        self._class = super().__getitem__("")

    def __getitem__(self, name: str) -> Any:
        return self._class


_PLAIN_HEADERS = policy.default.clone(header_factory=_TextHeaders())


@dataclass(frozen=True, slots=True)
class Handoff:
    """A session handed to people, as its subscribers are told."""

    session_id: str
    customer_id: str
    reason: str
    agent_id: str | None
    at_ms: int

    @property
    def name(self) -> str:
        """The hand-off's own name, the same in every delivery of its message."""
        return f"{self.session_id}-{self.at_ms:013d}"

    def message(self) -> dict[str, Any]:
        """The body of the message to the topic."""
        return {
            "session_id": self.session_id,
            "customer_id": self.customer_id,
            "reason": self.reason,
            "agent_id": self.agent_id,
            "at_ms": self.at_ms,
        }

    def attributes(self) -> dict[str, str]:
        """The message's attributes, on which subscriptions filter; no agent_id unless one is assigned."""
        attributes = {"event_type": "handoff", "reason": self.reason}
        if self.agent_id is not None:
            attributes["agent_id"] = self.agent_id
        return attributes


def from_change(change: Change) -> Handoff:
    """The hand-off that the INSERT of its item tells of."""
    item = change.new or {}
    return Handoff(
        session_id=keys.session_id_of(change.keys["PK"]),
        customer_id=item["customer_id"],
        reason=item["reason"],
        agent_id=item.get("agent_id"),
        at_ms=keys.handoff_at_ms(change.keys["SK"]),
    )


def from_message(body: Mapping[str, Any]) -> Handoff:
    """The hand-off that a message's body tells of."""
    return Handoff(
        session_id=body["session_id"],
        customer_id=body["customer_id"],
        reason=body["reason"],
        agent_id=body["agent_id"],
        at_ms=int(body["at_ms"]),
    )


class Table(Protocol):
    """What the consumers need of a table's client."""

    def put(self, item: Mapping[str, Any], *, condition: str | None = None) -> Any:
        """Write the item; raises ConditionalCheckFailed."""


def show_on_dashboard(operations: Table, handoff: Handoff) -> bool:
    """Add the hand-off to its agent's dashboard; return whether it was new."""
    return _put_once(operations, {"PK": f"DASHBOARD#{handoff.agent_id}", "SK": handoff.name, **handoff.message()})


def open_escalation(operations: Table, handoff: Handoff) -> bool:
    """Open an escalation for a supervisor; return whether it was new."""
    return _put_once(operations, {"PK": "ESCALATIONS", "SK": handoff.name, "state": "open", **handoff.message()})


def offer_to_agents(operations: Table, session_id: str, at_ms: int) -> bool:
    """Put the session on the list that available agents pick from; return whether it was new."""
    return _put_once(
        operations, {"PK": "WAITING_SESSIONS", "SK": session_id, "session_id": session_id, "since_ms": at_ms}
    )


def _put_once(table: Table, item: Mapping[str, Any]) -> bool:
    try:
        table.put(item, condition="attribute_not_exists(SK)")
    except ConditionalCheckFailed:
        return False
    return True


def write_to_customer(outbox: Path, handoff: Handoff, settings: Settings) -> Path:
    """Tell the customer by mail: sent when an SMTP server is set, and kept in the outbox as .eml either way.

    The file is written after the server took the mail and marks it as sent. A crash between the two sends it
    again with the same Message-ID.
    """
    path = outbox / f"{handoff.name}.eml"
    if path.exists():
        return path
    mail = customer_mail(handoff, settings.mail_domain)
    if settings.smtp_url is not None:
        _send(mail, settings.smtp_url)
    write_durably(path, bytes(mail))
    return path


def customer_mail(handoff: Handoff, domain: str) -> EmailMessage:
    """The mail that tells the customer who takes over."""
    who = "One of our agents" if handoff.agent_id is None else f"Our agent {handoff.agent_id}"
    mail = EmailMessage(policy=_PLAIN_HEADERS)
    mail["From"] = f"MangaAssist <chat@{domain}>"
    mail["To"] = f"{handoff.customer_id}@{domain}"
    mail["Subject"] = "A person takes over your chat"
    mail["Message-ID"] = f"<{handoff.name}@{domain}>"
    mail["Date"] = formatdate(handoff.at_ms / 1000)
    mail.set_content(
        f"Hello,\n\n{who} takes over your chat with us. You need not repeat anything:\n"
        f"the conversation so far is at hand.\n\nChat: {handoff.session_id}\nReason: {handoff.reason}\n"
    )
    return mail


def _send(mail: EmailMessage, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError(f"expected smtp://host:port or smtps://host:port, got {parts.scheme}://…: mend the URL")
    connect = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    with connect(parts.hostname, parts.port or 0, timeout=SMTP_TIMEOUT_S) as server:
        if parts.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls()
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(mail)
