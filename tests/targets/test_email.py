"""E-mail over a mail server (aiosmtpd) and over SES (moto, ministack): what arrives, and what a refusal means."""

from __future__ import annotations

import ipaddress
import json
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench.processes import free_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from afterwrite import DeclarationError, Email, Message, Rejected, Throttled, Unavailable
from afterwrite.targets.email_message import kind_of_reply, message_id
from aws_servers import AwsServer
from mail_server import MailServer, mail_server

SENDER = "Shop <shop@example.org>"
ID = "change-1/notify/0"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as running:
        yield running


def send(email: Email, **changed: str) -> None:
    email.send(**{"id": ID, "to": "ada@example.com", "subject": "It is on its way", "text": "Hello.\n", **changed})


def test_an_e_mail_arrives_with_an_id_made_from_its_effect_s(server: MailServer) -> None:
    email = Email(server.url, sender=SENDER)
    send(email, subject="Unterwegs: Größe 42", html="<p>Hello.</p>", text="Grüße\n")
    (message,) = server.messages
    assert server.envelopes == [("shop@example.org", ["ada@example.com"])]
    assert (message["From"], message["To"]) == (SENDER, "ada@example.com")
    assert message["Subject"] == "Unterwegs: Größe 42"
    assert message["Message-ID"] == message_id(ID, "example.org")
    assert message["X-Idempotency-Key"] == ID
    assert abs(message["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    plain, html = (message.get_body(("plain",)), message.get_body(("html",)))
    assert plain is not None and html is not None
    assert (plain.get_content(), html.get_content()) == ("Grüße\r\n", "<p>Hello.</p>\r\n")


def test_the_same_id_gives_the_same_message_id_and_another_another() -> None:
    assert message_id(ID, "example.org") == message_id(ID, "example.org") != message_id(ID + "1", "example.org")


@pytest.mark.parametrize("wrap", [lambda asked: asked, lambda asked: Message("m", asked, 0)])
def test_it_is_a_function_s_whole_work(server: MailServer, wrap: Callable[[Any], Any]) -> None:
    context: Any = SimpleNamespace(invocation_id=ID)
    Email(server.url, sender=SENDER)(wrap({"to": "b@example.com", "subject": "s", "text": "t"}), context)
    assert (server.messages[0]["To"], server.messages[0]["X-Idempotency-Key"]) == ("b@example.com", ID)


def test_a_connection_is_used_again_and_replaced_when_it_has_gone(server: MailServer) -> None:
    email = Email(server.url, sender=SENDER)
    send(email)
    send(email)
    assert server.connections == 1
    server.close_connections()
    send(email)
    assert (server.connections, len(server.messages)) == (2, 3)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("451 4.3.0 try again", Unavailable),
        ("421 4.7.28 mail flood detected", Throttled),
        ("454 Throttling failure: Maximum sending rate exceeded", Throttled),
        ("452 4.3.1 insufficient storage", Throttled),
        ("554 5.7.1 spam", Rejected),
        ("552 5.3.4 too large", Rejected),
    ],
)
def test_a_refusal_is_of_its_kind_and_the_next_e_mail_passes(
    server: MailServer, reply: str, error: type[Exception]
) -> None:
    email = Email(server.url, sender=SENDER)
    server.replies.append(reply)
    with pytest.raises(error, match=reply.partition(" ")[2].split(" ")[0]):
        send(email)
    send(email)
    assert len(server.messages) == 1


def test_an_address_that_the_server_does_not_know_is_rejected(server: MailServer) -> None:
    email = Email(server.url, sender=SENDER)
    server.recipients["nobody@example.com"] = "550 5.1.1 no such user"
    with pytest.raises(Rejected, match="no such user"):
        send(email, to="nobody@example.com")
    send(email)
    assert (len(server.messages), server.connections) == (1, 1)


@pytest.mark.parametrize(
    "to", ["", "nobody", "a@b\r\nBcc: everyone@example.com", "a b@example.com", "a@b, c@d", ",", "a@(", "\ud800@b"]
)
def test_what_is_no_address_is_rejected_before_it_is_sent(server: MailServer, to: str) -> None:
    with pytest.raises(Rejected):
        send(Email(server.url, sender=SENDER), to=to)
    assert (server.messages, server.connections) == ([], 0)


@pytest.mark.parametrize(
    "subject",
    [
        "hello\r\nBcc: everyone@example.com",
        "=?utf-8?q?hello=0d=0aBcc:_everyone@example.com?=",
        "hello =?utf-8?b?DQpCY2M6IGV2ZXJ5b25lQGV4YW1wbGUuY29t?=",
    ],
)
def test_a_subject_cannot_add_a_header(server: MailServer, subject: str) -> None:
    with pytest.raises(Rejected):
        send(Email(server.url, sender=SENDER), subject=subject)
    assert server.messages == []


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        send(Email(f"smtp://127.0.0.1:{free_port()}", sender=SENDER))


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (535, "bad credentials", "permission"),
        (450, "busy", "unavailable"),
        (-1, "", "unavailable"),
        (503, "", "rejected"),
    ],
)
def test_replies_have_kinds(code: int, words: str, kind: str) -> None:
    assert kind_of_reply(code, words) == kind


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[MailServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with mail_server(tls=context, user=("shop", "pass word")) as running:
        yield running


def test_a_login_goes_over_tls_to_a_server_that_is_trusted(
    tls_server: MailServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"smtp+starttls://shop:pass%20word@127.0.0.1:{tls_server.port}"
    with pytest.raises(Rejected, match="SSLCertVerificationError"):
        send(Email(url, sender=SENDER))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    send(Email(url, sender=SENDER))
    assert len(tls_server.messages) == 1
    with pytest.raises(Rejected, match="535"):
        send(Email(url.replace("word", "ward"), sender=SENDER))


def test_tls_that_is_asked_for_is_not_done_without(server: MailServer) -> None:
    with pytest.raises(Rejected, match="STARTTLS"):
        send(Email(f"smtp+starttls://127.0.0.1:{server.port}", sender=SENDER))
    assert server.messages == []


@pytest.mark.parametrize(
    ("url", "sender", "message"),
    [
        ("http://127.0.0.1", SENDER, "expected an e-mail's url to be smtp://"),
        ("smtp://127.0.0.1:secret", SENDER, "expected a URL of the form"),
        ("ses://", "a,b", "expected an e-mail's sender"),
        ("smtp://", SENDER, "expected an e-mail's url to be smtp://"),
        ("smtp://user:secret@127.0.0.1", SENDER, r"expected smtp\+starttls:// or smtps://"),
        ("ses://", "shop", "expected an e-mail's sender"),
        ("ses://", "Shop <>", "expected an e-mail's sender"),
    ],
)
def test_what_is_declared_wrongly_is_told_without_the_password(url: str, sender: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=message) as raised:
        Email(url, sender=sender)
    assert "secret" not in str(raised.value)


def over_ses(server: AwsServer, sender: str = SENDER, url: str = "ses://") -> Email:
    return Email(url, sender=sender, client=lambda: server.client("sesv2"))


def test_ses_takes_the_same_e_mail(moto: AwsServer, ministack: AwsServer) -> None:
    for each in (moto, ministack):
        each.client("sesv2").create_email_identity(EmailIdentity="shop@example.org")
        send(over_ses(each), html="<p>Hello.</p>", text="Grüße\n")
    with urllib.request.urlopen(f"{ministack.endpoint_url}/_ministack/ses/messages") as answer:
        shown = json.dumps(json.load(answer))
    assert "ada@example.com" in shown
    with urllib.request.urlopen(f"{moto.endpoint_url}/moto-api/data.json") as answer:
        (kept,) = json.load(answer)["ses"]["RawMessage"]
    assert f"X-Idempotency-Key: {ID}" in kept["raw_data"]


def test_ses_refuses_a_sender_that_is_not_verified(moto: AwsServer) -> None:
    with pytest.raises(Rejected, match="MessageRejected"):
        send(over_ses(moto, sender="else@example.net"))


def test_ses_that_does_not_answer_is_unavailable(moto: AwsServer) -> None:
    closed = AwsServer("none", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable):
        send(over_ses(closed))


def test_a_configuration_set_is_named_by_the_url(moto: AwsServer) -> None:
    assert over_ses(moto, url="ses://shop-mail").configuration_set == "shop-mail"
