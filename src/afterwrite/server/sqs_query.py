"""SQS by the query protocol, as SDKs of before November 2023 speak it: forms to requests of the other protocol's form.

What a request does is decided in `sqs`; here are the names that its parts have in forms and in XML. Source: the
parameters and the examples of the Amazon SQS API Reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from afterwrite.errors import ServiceError
from afterwrite.server import sqs_requests as requests
from afterwrite.server.aws_query import Parameters, scalar
from afterwrite.server.sqs import SqsService
from afterwrite.store.prepared import Poll, Prepared

_NUMBERS: Final = frozenset(
    (
        "DelaySeconds",
        "MaxNumberOfMessages",
        "MaxNumberOfMessagesPerSecond",
        "MaxResults",
        "VisibilityTimeout",
        "WaitTimeSeconds",
    )
)
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
# Fields that are lists, and those that are maps by `Name`, by their names in forms.
_LISTS: Final = {
    "AttributeName": "AttributeNames",
    "MessageAttributeName": "MessageAttributeNames",
    "MessageSystemAttributeName": "MessageSystemAttributeNames",
    "SendMessageBatchRequestEntry": "Entries",
    "DeleteMessageBatchRequestEntry": "Entries",
    "ChangeMessageVisibilityBatchRequestEntry": "Entries",
}
_MAPS: Final = {
    "Attribute": "Attributes",
    "MessageAttribute": "MessageAttributes",
    "MessageSystemAttribute": "MessageSystemAttributes",
}
# What the members of an answer's lists and maps are named in XML.
_ELEMENTS: Final = {
    "Messages": "Message",
    "QueueUrls": "QueueUrl",
    "queueUrls": "QueueUrl",
    "Failed": "BatchResultErrorEntry",
    "Results": "ListMessageMoveTasksResultEntry",
    **{plural: name for name, plural in _MAPS.items()},
}
_WITHOUT_RESULT: Final = frozenset(("ChangeMessageVisibility", "DeleteMessage", "PurgeQueue", "SetQueueAttributes"))


class SqsByQuery:
    """SQS's actions, with the parameters and answers of forms."""

    version = "2012-11-05"
    namespace = "http://queue.amazonaws.com/doc/2012-11-05/"

    def __init__(self, service: SqsService) -> None:
        self._service = service

    def prepare(self, action: str, parameters: Parameters, path: str) -> Prepared | Poll:
        """The action with its parameters, validated. Raises ServiceError."""
        if not self._service.offers(action):
            raise ServiceError("InvalidAction", f"The action {action} is not valid for this endpoint.")
        body = _body(parameters)
        # A queue may be named by the address that the form is sent to.
        return self._service.prepare(action, body if path == "/" else {"QueueUrl": path, **body})

    def result(self, action: str, answer: Mapping[str, Any]) -> str:
        """The answer's body as XML, empty for an action that answers nothing."""
        if action in _WITHOUT_RESULT:
            return ""
        members = _members({f"{action}ResultEntry" if name == "Successful" else name: answer[name] for name in answer})
        return f"<{action}Result>{members}</{action}Result>"

    def named(self, error: ServiceError) -> tuple[str, str]:
        """An error's code and message."""
        message = error.message
        if error.code == "QueueDoesNotExist":
            message = f"{message.removesuffix('.')} for this wsdl version."
        return requests.legacy_code(error.code), message


def _body(parameters: Parameters) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name, value in parameters.items():
        if name in _NUMBERS:
            body[name] = _number(name, value)
        elif name in _LISTS:
            body[_LISTS[name]] = [_body(each) if isinstance(each, dict) else each for each in _numbered(value)]
        elif name in _MAPS:
            entries = [each for each in _numbered(value) if isinstance(each, dict)]
            body[_MAPS[name]] = {str(each.get("Name", "")): each.get("Value", "") for each in entries}
        else:
            body[name] = value
    return body


def _number(field: str, value: object) -> int:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise requests.invalid(field, value, "Must be an integer.")
    return int(value)


def _numbered(value: Any) -> list[Any]:
    """The members of a list, of which one may have come without its number."""
    return value if isinstance(value, list) else [value]


def _members(answer: Mapping[str, Any]) -> str:
    return "".join(_element(_ELEMENTS.get(name, name), value) for name, value in answer.items())


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_element(name, each) for each in value)
    if name in _MAPS:
        return "".join(f"<{name}>{_members({'Name': key, 'Value': value[key]})}</{name}>" for key in value)
    if isinstance(value, Mapping):
        return f"<{name}>{_members(value)}</{name}>"
    return f"<{name}>{scalar(value)}</{name}>"
