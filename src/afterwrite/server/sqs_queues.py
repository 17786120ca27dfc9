"""SQS's operations on queues themselves: which there are, their attributes, dead letters moved back, purging.

The app declares its queues, so nobody creates, deletes or redrives them otherwise over the wire; what may be set is
how messages are sent and received, and that stays with the data directory.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from afterwrite.app import DEAD_LETTERS, App
from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.server import sqs_requests as requests
from afterwrite.server.sqs_requests import Body
from afterwrite.store import ledger, queue_tasks, queues
from afterwrite.store.environment import Environment, ReadTransaction, WriteTransaction
from afterwrite.store.prepared import Prepared, Read, Write
from afterwrite.store.queue_tasks import QueueTask
from afterwrite.store.tables import Catalog

_PAGE_MAX: Final = 1_000
_TASKS_SHOWN_MAX: Final = 10
_MOVES_A_SECOND_MAX: Final = 500
# What can be set, and from where to where.
_SETTABLE: Final = {
    "VisibilityTimeout": (0, requests.VISIBILITY_S_MAX),
    "DelaySeconds": (0, requests.DELAY_S_MAX),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "MaximumMessageSize": (1024, requests.MESSAGE_BYTES_MAX),
}
_DEDUPLICATES: Final = "ContentBasedDeduplication"
_FIFO: Final = "FifoQueue"
_IS_RUNNING: Final = (
    "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
)


@dataclass(frozen=True, slots=True)
class DeclaredQueue:
    """A queue as the app declares it. A dead letter queue has none of its own, and `sources` instead."""

    name: str
    visibility_timeout_s: float = 30.0
    max_receives: int = 0
    dead_letter_queue: str | None = None
    sources: tuple[str, ...] = ()

    @property
    def is_fifo(self) -> bool:
        """Whether it asks for message groups and deduplicates, as its name says, or that of its source."""
        return self.name.removesuffix(DEAD_LETTERS).endswith(".fifo")


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How messages of a queue are sent and received, unless the request says otherwise."""

    visibility_timeout_s: float
    delay_s: int = 0
    wait_s: int = 0
    message_bytes_max: int = requests.MESSAGE_BYTES_MAX
    deduplicates_by_content: bool = False


def declared_queues(app: App) -> list[DeclaredQueue]:
    """The app's queues, their dead letter queues, and those of its functions."""
    found: list[DeclaredQueue] = []
    for queue in app.queues:
        timeout_s = queue.visibility_timeout_s
        found.append(DeclaredQueue(queue.name, timeout_s, queue.max_receives, queue.dead_letter_queue))
        found.append(DeclaredQueue(queue.dead_letter_queue, timeout_s, sources=(queue.name,)))
    functions = [function for function in app.functions if function.queue is None]
    found.extend(DeclaredQueue(each.dead_letter_queue, sources=(each.queue_name,)) for each in functions)
    return sorted(found, key=lambda each: each.name)


class SqsQueues:
    """The queues that the wire knows, by name, URL and ARN."""

    def __init__(self, declared: Sequence[DeclaredQueue], identity: Identity, environment: Environment) -> None:
        self._declared = {queue.name: queue for queue in declared}
        self._identity = identity
        self._environment = environment
        self._endpoint = f"https://sqs.{identity.region}.amazonaws.com"

    @property
    def account_id(self) -> str:
        """The account that all belongs to."""
        return self._identity.account_id

    def now_ms(self) -> int:
        """The time by the engine's clock."""
        return self._environment.now_ms()

    def listens_at(self, host: str, port: int) -> None:
        """Where requests reach these queues, which is what their URLs say."""
        self._endpoint = f"http://{host}:{port}"

    def url(self, name: str) -> str:
        """A queue's URL."""
        return f"{self._endpoint}/{self._identity.account_id}/{name}"

    def arn(self, name: str) -> str:
        """A queue's ARN."""
        return f"arn:aws:sqs:{self._identity.region}:{self._identity.account_id}:{name}"

    def named(self, body: Body) -> DeclaredQueue:
        """The queue whose URL the request has; the URL's host does not matter, its last part is the name."""
        url = requests.required_text(body, "QueueUrl")
        return self._found(urlsplit(url).path.rpartition("/")[2])

    def _found(self, name: str) -> DeclaredQueue:
        queue = self._declared.get(name)
        if queue is None:
            raise requests.refusal("QueueDoesNotExist", "The specified queue does not exist.")
        return queue

    def settings(self, transaction: ReadTransaction, queue: DeclaredQueue) -> QueueSettings:
        """How messages of the queue are sent and received."""
        kept: Mapping[str, Any] = ledger.note(transaction, _settings_note(queue)) or {}
        return QueueSettings(
            kept.get("VisibilityTimeout", queue.visibility_timeout_s),
            kept.get("DelaySeconds", 0),
            kept.get("ReceiveMessageWaitTimeSeconds", 0),
            kept.get("MaximumMessageSize", requests.MESSAGE_BYTES_MAX),
            kept.get(_DEDUPLICATES, False),
        )

    def purged_through(self, transaction: ReadTransaction, queue: DeclaredQueue) -> int:
        """The last arrival that a FIFO queue has forgotten, 0 where it was never purged."""
        return int(ledger.note(transaction, _purged_note(queue)) or 0)

    def wait_s(self, queue: DeclaredQueue) -> int:
        """How long a request that does not say waits for messages."""
        with self._environment.read() as transaction:
            return self.settings(transaction, queue).wait_s

    def operations(self) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations by name."""
        return {
            "CreateQueue": self._create,
            "DeleteQueue": self._delete,
            "GetQueueUrl": self._get_url,
            "ListQueues": self._list,
            "GetQueueAttributes": self._get_attributes,
            "SetQueueAttributes": self._set_attributes,
            "PurgeQueue": self._purge,
            "ListDeadLetterSourceQueues": self._list_sources,
            "StartMessageMoveTask": self._start_move,
            "CancelMessageMoveTask": self._cancel_move,
            "ListMessageMoveTasks": self._list_moves,
        }

    # --- which queues there are

    def _create(self, body: Body) -> Read:
        name, wanted = requests.required_text(body, "QueueName"), requests.structure(body, "Attributes")
        queue = self._declared.get(name)
        if queue is None:
            raise requests.refusal(
                "UnsupportedOperation", f"The app declares no queue {name}: declare it there, with app.queue({name!r})"
            )

        def run(transaction: ReadTransaction, _catalog: Catalog) -> Mapping[str, Any]:
            _check_wanted(wanted, self._attributes(transaction, queue))
            return {"QueueUrl": self.url(name)}

        return Read(run)

    def _delete(self, body: Body) -> Read:
        queue = self.named(body)
        raise requests.refusal("UnsupportedOperation", f"The app declares the queue {queue.name}: take it out there")

    def _get_url(self, body: Body) -> Read:
        return _constant({"QueueUrl": self.url(self._found(requests.required_text(body, "QueueName")).name)})

    def _list(self, body: Body) -> Read:
        prefix = requests.text(body, "QueueNamePrefix") or ""
        page, token = _page(body, [name for name in self._declared if name.startswith(prefix)])
        urls = [self.url(name) for name in page]
        return _constant({**({"QueueUrls": urls} if urls else {}), **token})

    def _list_sources(self, body: Body) -> Read:
        page, token = _page(body, list(self.named(body).sources))
        return _constant({"queueUrls": [self.url(name) for name in page], **token})

    # --- attributes

    def _get_attributes(self, body: Body) -> Read:
        queue, names = self.named(body), requests.texts(body, "AttributeNames")

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            found = self._attributes(transaction, queue)
            for name in names:
                if name not in ("All", *found, *_ABSENT):
                    raise _unknown(name)
            wanted = {name: value for name, value in found.items() if "All" in names or name in names}
            return orjson.dumps({"Attributes": wanted} if wanted else {})

        return Read(run)

    def _attributes(self, transaction: ReadTransaction, queue: DeclaredQueue) -> Mapping[str, str]:
        settings, now_ms = self.settings(transaction, queue), self.now_ms()
        in_flight = queues.in_flight(transaction, queue.name, now_ms)
        delayed = queues.delayed(transaction, queue.name, now_ms)
        visible = max(0, queues.depth(transaction, queue.name) - in_flight - delayed)
        found = {
            "QueueArn": self.arn(queue.name),
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(in_flight),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
            "VisibilityTimeout": f"{settings.visibility_timeout_s:g}",
            "DelaySeconds": str(settings.delay_s),
            "ReceiveMessageWaitTimeSeconds": str(settings.wait_s),
            "MaximumMessageSize": str(settings.message_bytes_max),
        }
        if queue.dead_letter_queue is not None:
            policy = {"deadLetterTargetArn": self.arn(queue.dead_letter_queue), "maxReceiveCount": queue.max_receives}
            found["RedrivePolicy"] = orjson.dumps(policy).decode()
        if queue.is_fifo:
            found |= {_FIFO: "true", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"}
            found[_DEDUPLICATES] = "true" if settings.deduplicates_by_content else "false"
        return found

    def _set_attributes(self, body: Body) -> Write:
        queue = self.named(body)
        attributes = requests.structure(body, "Attributes")
        _check_kind(queue, attributes.get(_FIFO, "true" if queue.is_fifo else None))
        given = {name: _setting(queue, name, value) for name, value in attributes.items() if name != _FIFO}

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            kept: Mapping[str, Any] = ledger.note(transaction, _settings_note(queue)) or {}
            ledger.keep_note(transaction, _settings_note(queue), {**kept, **given})
            return {}

        return Write(run)

    # --- tasks

    def _purge(self, body: Body) -> Write:
        queue = self.named(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            if any(each.queue == queue.name and not each.moves for each in queue_tasks.running(transaction)):
                message = f"Only one PurgeQueue operation on {queue.name} is allowed at a time."
                raise requests.refusal("PurgeQueueInProgress", message)
            through = queues.last_arrival(transaction)
            queue_tasks.start(transaction, QueueTask(0, queue.name, through, transaction.now_ms, moves=False))
            if queue.is_fifo:
                # What is purged may be sent again at once.
                ledger.keep_note(transaction, _purged_note(queue), through)
            return {}

        return Write(run)

    def _start_move(self, body: Body) -> Write:
        source = self._of_arn(body, "SourceArn")
        destination = None if body.get("DestinationArn") is None else self._of_arn(body, "DestinationArn").name
        a_second = requests.bounded(body, "MaxNumberOfMessagesPerSecond", 1, _MOVES_A_SECOND_MAX, 0) or None
        if not source.sources:
            raise requests.invalid_parameter("Source queue must be configured as a Dead Letter Queue.")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            if any(each.queue == source.name and each.moves for each in queue_tasks.running(transaction)):
                raise requests.invalid_parameter(_IS_RUNNING)
            task = QueueTask(
                0,
                source.name,
                queues.last_arrival(transaction),
                transaction.now_ms,
                moves=True,
                destination=destination,
                a_second=a_second,
                to_move=queues.depth(transaction, source.name),
            )
            return {"TaskHandle": _task_handle(queue_tasks.start(transaction, task))}

        return Write(run)

    def _cancel_move(self, body: Body) -> Write:
        handle = requests.required_text(body, "TaskHandle")
        if _queue_of_task(handle) not in self._declared:
            raise _no_such("SourceArn")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            for task in queue_tasks.running(transaction):
                if _task_handle(task) == handle:
                    queue_tasks.change(transaction, replace(task, state=queue_tasks.CANCELLED))
                    return {"ApproximateNumberOfMessagesMoved": task.moved}
            raise _not_found("Task does not exist.")

        return Write(run)

    def _list_moves(self, body: Body) -> Read:
        source = self._of_arn(body, "SourceArn")
        limit = requests.bounded(body, "MaxResults", 1, _TASKS_SHOWN_MAX, 1)

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            found = [each for each in queue_tasks.tasks(transaction) if each.queue == source.name and each.moves]
            return orjson.dumps({"Results": [self._shown(each) for each in found[::-1][:limit]]})

        return Read(run)

    def _shown(self, task: QueueTask) -> Mapping[str, Any]:
        shown: dict[str, Any] = {
            "Status": task.state,
            "SourceArn": self.arn(task.queue),
            "ApproximateNumberOfMessagesMoved": task.moved,
            "ApproximateNumberOfMessagesToMove": task.to_move,
            "StartedTimestamp": task.started_at_ms,
        }
        if task.state == queue_tasks.RUNNING:
            shown["TaskHandle"] = _task_handle(task)
        if task.destination is not None:
            shown["DestinationArn"] = self.arn(task.destination)
        if task.a_second is not None:
            shown["MaxNumberOfMessagesPerSecond"] = task.a_second
        return shown

    def _of_arn(self, body: Body, field: str) -> DeclaredQueue:
        name = requests.required_text(body, field).rpartition(":")[2]
        if name not in self._declared:
            raise _no_such(field)
        return self._declared[name]


# Attributes of AWS's queues that these have not; to ask for one is no error.
_ABSENT: Final = (
    "CreatedTimestamp",
    "DeduplicationScope",
    _FIFO,
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "LastModifiedTimestamp",
    "MessageRetentionPeriod",
    "Policy",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    _DEDUPLICATES,
)


def _purged_note(queue: DeclaredQueue) -> str:
    return f"purged/{queue.name}"


def _settings_note(queue: DeclaredQueue) -> str:
    return f"queue-settings/{queue.name}"


def _unknown(attribute: str) -> ServiceError:
    return requests.refusal("InvalidAttributeName", f"Unknown Attribute {attribute}.")


def _check_wanted(wanted: Mapping[str, Any], found: Mapping[str, str]) -> None:
    """Refuse to find a queue that has other attributes than are wanted; what queues here have not is not compared."""
    for name, value in wanted.items():
        if name not in (*found, *_ABSENT):
            raise _unknown(name)
        if name in found and not _is_same(value, found[name]):
            raise requests.refusal(
                "QueueNameExists",
                f"A queue already exists with the same name and a different value for attribute {name}",
            )


def _is_same(wanted: object, found: str) -> bool:
    """Whether an attribute's values are the same, or redrive policies that say the same."""
    policy = _policy(found)
    return wanted == found or (policy is not None and _policy(wanted) == policy)


def _policy(value: object) -> Mapping[str, str] | None:
    """The members of a redrive policy, in which numbers may be written as texts; None where it is none."""
    try:
        members = orjson.loads(value) if isinstance(value, str) else None
    except orjson.JSONDecodeError:
        return None
    return {name: str(member) for name, member in members.items()} if isinstance(members, dict) else None


def _check_kind(queue: DeclaredQueue, wanted: object) -> None:
    """Refuse to make a queue another kind of queue than it is."""
    if not queue.is_fifo and wanted is not None:
        raise _unknown(_FIFO)
    if queue.is_fifo and wanted != "true":
        reason = "Modifying queue type is not supported."
        raise requests.refusal("InvalidAttributeValue", f"Invalid value for the parameter {_FIFO}. Reason: {reason}")


def _setting(queue: DeclaredQueue, name: str, value: object) -> int | bool:
    """The value of an attribute that may be set."""
    if name == _DEDUPLICATES and queue.is_fifo and value in ("true", "false"):
        return value == "true"
    if name not in _SETTABLE:
        if name in _ABSENT:
            message = f"{name} of the queue {queue.name} is not set over the wire: the app declares the queue"
            raise requests.refusal("UnsupportedOperation", message)
        raise _unknown(name)
    least, most = _SETTABLE[name]
    if not isinstance(value, str) or not value.isdecimal() or not least <= int(value) <= most:
        raise requests.refusal("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    return int(value)


def _page(body: Body, names: list[str]) -> tuple[list[str], Mapping[str, str]]:
    """A page of names, and the token of the next one where the request limits it."""
    limit = requests.bounded(body, "MaxResults", 1, _PAGE_MAX, _PAGE_MAX)
    token = requests.text(body, "NextToken")
    if token is not None:
        try:
            after = base64.b64decode(token, b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            raise requests.invalid("NextToken", token, "It is none that was given.") from None
        names = [name for name in names if name > after]
    page = names[:limit]
    more = len(names) > limit and body.get("MaxResults") is not None
    return page, {"NextToken": base64.urlsafe_b64encode(page[-1].encode()).decode()} if more else {}


def _task_handle(task: QueueTask) -> str:
    return base64.urlsafe_b64encode(f"{task.queue}/{task.number}".encode()).decode()


def _queue_of_task(handle: str) -> str:
    """The queue in a task's handle."""
    try:
        queue, _, number = base64.b64decode(handle, b"-_", validate=True).decode().rpartition("/")
    except (binascii.Error, ValueError):
        queue, number = "", ""
    if not (queue and number.isdecimal()):
        raise requests.invalid_parameter("Value for parameter TaskHandle is invalid.")
    return queue


def _no_such(field: str) -> ServiceError:
    return _not_found(f"The resource that you specified for the {field} parameter doesn't exist.")


def _not_found(message: str) -> ServiceError:
    return requests.refusal("ResourceNotFoundException", message)


def _constant(body: Mapping[str, Any]) -> Read:
    return Read(lambda _transaction, _catalog: body)
