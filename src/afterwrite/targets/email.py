"""E-mail: sends messages over a mail server (SMTP) or SES."""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Callable
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, unquote

from afterwrite.core.invocations import Context
from afterwrite.core.sending import asked_for, fail
from afterwrite.core.target_failures import TargetFailure
from afterwrite.errors import DeclarationError, InvalidValue
from afterwrite.targets.connections import Connections, split_url
from afterwrite.targets.email_message import compose, kind_of_reply
from afterwrite.targets.remote_target import client_from_environment, failure_of_request

_OK: Final = 250
_PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class Email:
    """E-mails from the address `sender`, by way of `url`:

    `smtp://HOST:PORT` (TLS where the server offers it), `smtp+starttls://USER:PASSWORD@HOST:PORT` (TLS or nothing),
    `smtps://USER:PASSWORD@HOST:PORT` (TLS from the start), or `ses://` with `ses://CONFIGURATION_SET` (SES by boto3;
    `client` gives its `sesv2` client, else one is made from the environment). Each e-mail has a Message-ID made from
    its id, so that a receiver can tell a repetition; over SES, which sets its own, the header X-Idempotency-Key does.
    `timeout_s` is for connecting and for each answer of the server. Raises DeclarationError.
    """

    actions: ClassVar[tuple[str, ...]] = ("ses:SendEmail", "ses:SendRawEmail")

    def __init__(
        self, url: str, *, sender: str, timeout_s: float = 10.0, client: Callable[[], Any] | None = None
    ) -> None:
        parts = split_url(url)
        if timeout_s <= 0:
            raise DeclarationError(f"expected an e-mail's timeout_s above 0, got {timeout_s}")
        self.sender = _sender(sender)
        self.over_ses = parts.scheme == "ses"
        self._transport: _Smtp | _Ses
        if self.over_ses:
            self._transport = _Ses(parts.hostname, client or client_from_environment("sesv2"))
        elif parts.scheme in _PORTS and parts.hostname:
            self._transport = _Smtp(parts, timeout_s)
        else:
            raise DeclarationError(
                "expected an e-mail's url to be smtp://HOST:PORT, smtp+starttls://…, smtps://… or ses://, got one with "
                f"the scheme {parts.scheme!r} and the host {parts.hostname!r}"
            )

    @property
    def configuration_set(self) -> str | None:
        """SES's configuration set, where one is named."""
        return self._transport.configuration_set if isinstance(self._transport, _Ses) else None

    def __call__(self, request: Any, context: Context, /) -> None:
        """Send what a function's request or a message asks for: `to`, `subject`, `text` and perhaps `html`."""
        asked = asked_for(request)
        self.send(
            id=context.invocation_id,
            to=asked["to"],
            subject=asked["subject"],
            text=asked["text"],
            html=asked.get("html"),
        )

    def send(self, *, id: str, to: str, subject: str, text: str, html: str | None = None) -> None:
        """Send one e-mail to the address `to`, under `id`. Raises Throttled, Unavailable and Rejected."""
        at_ms = time.time_ns() // 1_000_000
        try:
            message = compose(id=id, sender=self.sender, to=to, subject=subject, text=text, html=html, at_ms=at_ms)
            message.as_bytes()
        except Exception as error:  # noqa: BLE001 - the standard library's parser fails at some addresses in its own way
            fail(TargetFailure(self._transport.name, "rejected", type(error).__name__, str(error)))
        failure = self._transport.send(message, self.sender.addr_spec, to)
        if failure is not None:
            fail(failure)


def _sender(text: str) -> Address:
    name, _, rest = text.rpartition("<")
    try:
        address = Address(name.strip().strip('"'), addr_spec=rest.rstrip("> ") if name else text)
        if not address.username or not address.domain:
            raise InvalidValue("it has no user or no domain")
    except Exception as error:  # noqa: BLE001 - the standard library's parser fails at some addresses in its own way
        raise DeclarationError(
            f"expected an e-mail's sender as shop@example.org or Shop <shop@example.org>, got {text!r}: {error}"
        ) from None
    return address


class _Ses:
    def __init__(self, configuration_set: str | None, client: Callable[[], Any]) -> None:
        self.name = "ses"
        self.configuration_set = configuration_set
        self._client = client

    def send(self, message: EmailMessage, sender: str, to: str) -> TargetFailure | None:
        request: dict[str, Any] = {
            "FromEmailAddress": sender,
            "Destination": {"ToAddresses": [to]},
            "Content": {"Raw": {"Data": message.as_bytes()}},
        }
        if self.configuration_set is not None:
            request["ConfigurationSetName"] = self.configuration_set
        return failure_of_request(self.name, lambda: self._client().send_email(**request))


class _Smtp:
    """A mail server; each thread keeps its connection to it."""

    def __init__(self, parts: SplitResult, timeout_s: float) -> None:
        self._scheme = parts.scheme
        self._host, self._port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        if self._user and self._scheme == "smtp":
            raise DeclarationError(
                "expected smtp+starttls:// or smtps:// for a mail server with a user, whose password smtp:// might show"
            )
        self._timeout_s = timeout_s
        self._connections: Connections[smtplib.SMTP] = Connections()
        self.name = f"{parts.scheme}://{self._host}:{self._port}"

    def send(self, message: EmailMessage, sender: str, to: str) -> TargetFailure | None:
        try:
            self._send(message, sender, to)
        except smtplib.SMTPRecipientsRefused as error:
            ((code, words),) = error.recipients.values()
            return self._refused(code, words)
        except smtplib.SMTPResponseException as error:
            return self._refused(error.smtp_code, error.smtp_error)
        except smtplib.SMTPNotSupportedError as error:
            return TargetFailure(self.name, "rejected", type(error).__name__, str(error))
        except ssl.SSLCertVerificationError as error:
            return TargetFailure(self.name, "permission", type(error).__name__, str(error))
        except OSError as error:  # SMTPException is one, for what is no answer, such as a connection that ends
            return TargetFailure(self.name, "unavailable", type(error).__name__, str(error))
        return None

    def _send(self, message: EmailMessage, sender: str, to: str) -> None:
        kept = self._connections.take()
        if kept is not None:
            # One that was closed while it was idle is replaced: nothing of this e-mail has been sent.
            try:
                alive = kept.rset()[0] == _OK
            except OSError:
                alive = False
            if not alive:
                kept.close()
                kept = None
        connection = self._connect() if kept is None else kept
        try:
            connection.send_message(message, sender, [to])
        except smtplib.SMTPRecipientsRefused:
            self._connections.keep(connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._connections.keep(connection)

    def _connect(self) -> smtplib.SMTP:
        if self._scheme == "smtps":
            context = ssl.create_default_context()
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout_s, context=context
            )
        else:
            connection = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.ehlo_or_helo_if_needed()
            if self._scheme == "smtp+starttls" or (self._scheme == "smtp" and connection.has_extn("starttls")):
                connection.starttls(context=ssl.create_default_context())
            if self._user:
                connection.login(self._user, self._password)
        except BaseException:
            connection.close()
            raise
        return connection

    def _refused(self, code: int, said: bytes | str) -> TargetFailure:
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        return TargetFailure(self.name, kind_of_reply(code, words), str(code), words)
