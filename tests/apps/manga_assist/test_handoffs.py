"""What subscribers do with a hand-off: once, however often they are told."""

from __future__ import annotations

import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bounds import BOUND_S
from manga_assist import handoffs
from manga_assist.handoffs import Handoff
from manga_assist.settings import Settings

HANDOFF = Handoff("s1", "c1", "refund", "agent-007", 1_760_000_000_123)
SETTINGS = Settings(smtp_url=None, mail_domain="customers.example", buffer_s=60)


def test_the_message_carries_the_handoff_through() -> None:
    assert handoffs.from_message(HANDOFF.message()) == HANDOFF
    assert HANDOFF.attributes() == {"event_type": "handoff", "reason": "refund", "agent_id": "agent-007"}


def test_an_unassigned_handoff_has_no_agent_attribute() -> None:
    unassigned = replace(HANDOFF, agent_id=None)
    assert handoffs.from_message(unassigned.message()) == unassigned
    assert unassigned.attributes() == {"event_type": "handoff", "reason": "refund"}


def test_rows_are_written_once(operations_table: Any) -> None:
    for write in (handoffs.show_on_dashboard, handoffs.open_escalation):
        assert write(operations_table, HANDOFF) is True
        assert write(operations_table, HANDOFF) is False
        assert write(operations_table, replace(HANDOFF, at_ms=HANDOFF.at_ms + 1)) is True
    assert handoffs.offer_to_agents(operations_table, "s1", 5) is True
    assert handoffs.offer_to_agents(operations_table, "s1", 5) is False
    rows = operations_table.query("DASHBOARD#agent-007")
    assert [row["SK"] for row in rows] == ["s1-1760000000123", "s1-1760000000124"]
    assert len(operations_table.query("ESCALATIONS")) == 2


def test_a_supervisor_s_progress_outlives_a_second_delivery(operations_table: Any) -> None:
    handoffs.open_escalation(operations_table, HANDOFF)
    row = operations_table.query("ESCALATIONS")[0]
    operations_table.put({**row, "state": "settled"})
    handoffs.open_escalation(operations_table, HANDOFF)
    assert operations_table.query("ESCALATIONS")[0]["state"] == "settled"


def test_mail_goes_to_the_outbox(tmp_path: Path) -> None:
    path = handoffs.write_to_customer(tmp_path, HANDOFF, SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["s1-1760000000123.eml"]
    content = path.read_bytes()
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert mail["To"] == "c1@customers.example"
    assert mail["Message-ID"] == "<s1-1760000000123@customers.example>"
    assert "agent-007" in mail.get_body().get_content()  # type: ignore[union-attr]
    assert handoffs.write_to_customer(tmp_path, HANDOFF, SETTINGS).read_bytes() == content
    assert bytes(handoffs.customer_mail(HANDOFF, "customers.example")) == content


class SmtpServer:
    """Just enough of SMTP to take mail; `answer` is what it says to a message's end."""

    def __init__(self, answer: bytes = b"250 taken") -> None:
        self.mails: list[bytes] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"smtp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb", buffering=0) as stream:
                stream.write(b"220 ready\r\n")
                for line in stream:
                    if line.upper().startswith(b"DATA"):
                        stream.write(b"354 go on\r\n")
                        self.mails.append(b"".join(iter(stream.readline, b".\r\n")))
                        stream.write(self._answer + b"\r\n")
                    elif line.upper().startswith(b"QUIT"):
                        stream.write(b"221 bye\r\n")
                        break
                    else:
                        stream.write(b"250 fine\r\n")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(BOUND_S)


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    server = SmtpServer()
    yield server
    server.close()


def test_mail_is_sent_once_where_a_server_is_set(tmp_path: Path, smtp: SmtpServer) -> None:
    settings = replace(SETTINGS, smtp_url=smtp.url)
    handoffs.write_to_customer(tmp_path, HANDOFF, settings)
    handoffs.write_to_customer(tmp_path, HANDOFF, settings)
    assert len(smtp.mails) == 1
    assert b"Message-ID: <s1-1760000000123@customers.example>" in smtp.mails[0]
    assert len(list(tmp_path.iterdir())) == 1


def test_mail_that_the_server_rejects_is_not_marked_as_sent(tmp_path: Path) -> None:
    server = SmtpServer(b"554 no")
    try:
        with pytest.raises(OSError, match="554"):
            handoffs.write_to_customer(tmp_path, HANDOFF, replace(SETTINGS, smtp_url=server.url))
    finally:
        server.close()
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_smtp_url_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected smtp://") as raised:
        handoffs.write_to_customer(tmp_path, HANDOFF, replace(SETTINGS, smtp_url="imap://me:secret@host"))
    assert "secret" not in str(raised.value)
