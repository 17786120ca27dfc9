"""SMS: publishes text messages to phone numbers through SNS."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, TypeAlias

from afterwrite.core.invocations import Context
from afterwrite.core.lambda_events import ID_ATTRIBUTE
from afterwrite.core.sending import asked_for, fail
from afterwrite.core.target_failures import TargetFailure
from afterwrite.targets.remote_target import failure_of_request

SmsKind: TypeAlias = Literal["Transactional", "Promotional"]

TEXT_BYTES_MAX: Final = 1_600
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")


class Sms:
    """Text messages through SNS, from `sender_id` where the country shows one.

    `client` gives boto3's `sns` client; without it one is made from the environment. SNS knows no repetition of a
    text: one whose answer was lost is sent again.
    """

    actions: ClassVar[tuple[str, ...]] = ("sns:Publish",)
    name: Final = "sms"

    def __init__(
        self,
        *,
        sender_id: str | None = None,
        kind: SmsKind = "Transactional",
        client: Callable[[], Any] | None = None,
    ) -> None:
        self._attributes = {"AWS.SNS.SMS.SMSType": _text(kind)}
        if sender_id is not None:
            self._attributes["AWS.SNS.SMS.SenderID"] = _text(sender_id)
        self._client = client

    def __call__(self, request: Any, context: Context, /) -> None:
        """Send the text that a function's request or a message asks for: `to` and `text`. Raises as `send` does."""
        asked = asked_for(request)
        self.send(id=context.invocation_id, to=asked["to"], text=asked["text"])

    def send(self, *, id: str, to: str, text: str) -> None:
        """Send `text` to the phone number `to` (E.164: +15550100). Raises Throttled, Unavailable and Rejected."""
        if not _E164.fullmatch(to):
            message = "expected a phone number as +15550100, in E.164's form: mend it where it is kept"
            fail(TargetFailure(self.name, "rejected", "PhoneNumber", message))
        size = len(text.encode())
        if not 0 < size <= TEXT_BYTES_MAX:
            message = f"expected a text of 1 to {TEXT_BYTES_MAX} bytes, got {size}: shorten the template"
            fail(TargetFailure(self.name, "rejected", "TextLength", message))
        request = {
            "PhoneNumber": to,
            "Message": text,
            "MessageAttributes": {**self._attributes, ID_ATTRIBUTE: _text(id)},
        }
        failure = failure_of_request(self.name, lambda: self._sns().publish(**request))
        if failure is not None:
            fail(failure)

    def _sns(self) -> Any:
        if self._client is None:
            from afterwrite.targets.remote_target import client_from_environment

            self._client = client_from_environment("sns")
        return self._client()


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}
