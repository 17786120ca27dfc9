"""A mail server of the demonstration's own (aiosmtpd) that keeps what it gets.

`python -m orders.mail_server PORT FILE`
"""

from __future__ import annotations

import json
import sys
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from demonstration.inbox import Inbox


class Mailbox:
    """Keeps e-mails under their Message-ID."""

    def __init__(self, path: Path) -> None:
        self._inbox = Inbox(path)

    def close(self) -> None:
        """Close the file."""
        self._inbox.close()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - the hook's name
        """Keep one e-mail, of each of its recipients."""
        message: Any = message_from_bytes(envelope.content, policy=policy.default)
        for recipient in envelope.rcpt_tos:
            self._inbox.take(message["Message-ID"], recipient, shown(message))
        return "250 Message accepted for delivery"


def shown(message: EmailMessage) -> str:
    """What the e-mail says, and the key that it carries, but not when it was sent."""
    body = message.get_body(("plain",))
    text = "" if body is None else body.get_content()
    return json.dumps({"key": message["X-Idempotency-Key"], "subject": message["Subject"], "text": text})


if __name__ == "__main__":
    Controller(Mailbox(Path(sys.argv[2])), hostname="127.0.0.1", port=int(sys.argv[1])).start()
    threading.Event().wait()
