"""E-mails as they are sent, and what mail servers' answers mean. Pure but for the date that it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

from afterwrite.core.failure_kinds import Kind
from afterwrite.core.uuids import uuid_of

ID_HEADER: Final = "X-Idempotency-Key"
"""The header with the effect's id. SES puts a Message-ID of its own in the place of ours and keeps this one."""

_ASCII_PRINTABLE: Final = re.compile(r"[!-~]+")


def message_id(id: str, domain: str) -> str:
    """The Message-ID of what is sent under `id`: the same for the same id."""
    return f"<{uuid_of(id)}@{domain}>"


def compose(
    *, id: str, sender: Address, to: str, subject: str, text: str, html: str | None, at_ms: int
) -> EmailMessage:
    """The e-mail. Raises ValueError for an address or a subject that a header cannot hold."""
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = sender
    message["To"] = Address(addr_spec=to)
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.fromtimestamp(at_ms // 1000, UTC))
    message["Message-ID"] = message_id(id, sender.domain)
    message[ID_HEADER] = id if _ASCII_PRINTABLE.fullmatch(id) else uuid_of(id)
    # An encoded word may hold a line break that the header's text did not show, and that would be written as one.
    broken = [name for name, value in message.items() if len(str(value).splitlines()) > 1]
    if broken:
        raise ValueError(f"expected headers of one line, got line breaks in encoded words of {', '.join(broken)}")
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message


_BY_CODE: Final[Mapping[int, Kind]] = {
    **dict.fromkeys((421, 450, 451, 454), "unavailable"),
    452: "throttled",
    **dict.fromkeys((530, 534, 535, 538), "permission"),
}
_MAIL_FLOOD: Final = re.compile(r"\b4\.7\.28\b|throttl|rate (limit )?exceeded|too many (messages|connections)", re.I)


def kind_of_reply(code: int, words: str) -> Kind:
    """The kind of a mail server's refusal: by its code, and where it says that it gets too much, by its words."""
    if 400 <= code < 500 and _MAIL_FLOOD.search(words):
        return "throttled"
    return _BY_CODE.get(code, "rejected" if code >= 500 else "unavailable")
