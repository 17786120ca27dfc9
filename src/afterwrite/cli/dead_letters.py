"""`afterwrite dead-letters`: the messages that failed for good, with their payload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from afterwrite.cli.parameters import Data, Flag, data_directory
from afterwrite.cli.rendering import count_text, print_json, print_line, printable, time_text
from afterwrite.core import json_text
from afterwrite.core.invocations import Message
from afterwrite.errors import CommandError
from afterwrite.inspection import DataReader, open_data

_PREFIX = "dead_letter_"


def dead_letters(queue: str | None = None, /, *, data: Data = None, json: Flag = False) -> None:
    """List the messages that failed for good, and why.

    A message goes to its queue's dead letter queue when its function has failed on it as often as it may be received.
    It stays there; nothing is lost, and listing changes nothing. The payload is what the function was given. The dead
    letters of a queue or function that the app does not declare any more are listed, too.

    Parameters
    ----------
    queue
        The queue that the messages failed in, such as `orders` or `function-summarize`. Default: every queue.
    json
        Print one JSON object a message.
    """
    with open_data(data_directory(data)) as reader:
        count = 0
        for name, message in _messages(reader, queue):
            count += 1
            fields = _fields(name, message)
            if json:
                print_json(fields)
            else:
                _show(fields)
    if not json and not count:
        print_line("no dead letters")


def _messages(reader: DataReader, queue: str | None) -> Iterator[tuple[str, Message]]:
    queues = {each.name: each.dead_letter_queue for each in reader.status().queues}
    if queue is not None and queue not in queues:
        raise CommandError(f"expected a queue of this engine ({', '.join(queues) or 'it has none'}), got {queue!r}")
    for name in queues if queue is None else [queue]:
        for message in reader.messages(queues[name]):
            yield name, message


def _fields(queue: str, message: Message) -> dict[str, Any]:
    attributes = dict(message.attributes)
    dead = {name: attributes.pop(name) for name in list(attributes) if name.startswith(_PREFIX)}
    return {
        "queue": queue,
        "function": dead.get("dead_letter_function"),
        "id": message.id,
        "sent_at": time_text(message.sent_at_ms),
        "failed_at": time_text(dead["dead_letter_at_ms"]) if "dead_letter_at_ms" in dead else None,
        "receive_count": dead.get("dead_letter_receive_count"),
        "reason": dead.get("dead_letter_reason"),
        "subject": message.subject,
        "attributes": attributes,
        "payload": message.body,
    }


def _show(fields: Mapping[str, Any]) -> None:
    print_line((printable(fields["id"]), "bold"))
    print_line(f"  queue     {fields['queue']}, function {fields['function']}")
    print_line(f"  failed    {fields['failed_at']}, sent {fields['sent_at']}")
    print_line(f"  received  {count_text(fields['receive_count'] or 0, 'time')}")
    print_line("  reason    ", (printable(str(fields["reason"])), "red"))
    if fields["subject"]:
        print_line(f"  subject   {printable(fields['subject'])}")
    if fields["attributes"]:
        print_line(f"  attributes {printable(json_text.dumps(fields['attributes']).decode())}")
    print_line(f"  payload   {printable(json_text.dumps(fields['payload']).decode())}")
