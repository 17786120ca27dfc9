"""What failed for good, for the person who is to see to it: what failed on what, why, what waits, and what to type."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Final

from afterwrite.cli.rendering import count_text, json_lines, print_line, printable
from afterwrite.core.event_source_mapping.failures import AGE_EXCEEDED, RETRIES_EXHAUSTED
from afterwrite.core.event_source_mapping.given_up import PAST_RETENTION
from afterwrite.core.parked import ParkedEntry
from afterwrite.core.times import iso_milliseconds

_REASON_WIDTH: Final = 150
_LABEL_WIDTH: Final = 10
# What follows how often it was tried, by the condition under which it was given up.
_THEN: Final[Mapping[str, str]] = {
    "a route failed": "; it is tried again whenever the engine starts",
    "its predecessor was dropped": "; it runs whenever the engine starts",
    "attempts exhausted": ", and has no attempt left",
    "too old": ", then it was too old to be tried again",
    "rejected": "; to try again what failed so does not help",
    "unreadable": ", then its stored bytes could not be read",
    "hangs": "; its attempt and another one of its lane do not return",
    "no outcome": "; each attempt ended with the engine's process",
    "received too often": " by consumers outside the engine, and not deleted",
    RETRIES_EXHAUSTED: ", and has no retry left",
    AGE_EXCEEDED: ", and was older then than its mapping may deliver",
    PAST_RETENTION: "; the stream has not kept it, so it cannot run again",
}


def show_line(entry: ParkedEntry) -> None:
    """Print an entry on one line, and its reason on another."""
    failure = entry.failure
    behind = f", {entry.behind} behind it" if entry.behind else ""
    error = "" if failure is None else f"{printable(_who(entry))}, error {failure.fingerprint}, "
    print_line(
        (printable(entry.lane), "bold"),
        f"  {_kind(entry)} in {entry.held_in}, {error}{count_text(entry.attempts, 'attempt')}, "
        f"since {iso_milliseconds(entry.parked_at_ms)}{behind}",
    )
    if failure is not None:
        reason = printable(failure.reason)
        print_line("  ", (reason if len(reason) <= _REASON_WIDTH else f"{reason[:_REASON_WIDTH]}…", "red"))


def show(entry: ParkedEntry, newer: int, options: str) -> None:
    """Print all of an entry; `newer` is how many newer changes were delivered since.

    `options` are those that a command needs to find what this one has found.
    """
    failure = entry.failure
    print_line((printable(entry.lane), "bold"))
    _print("failed", f"{_who(entry)}, on {_what(entry)}")
    if failure is not None:
        _print("reason", (failure.reason, "red"))
        _print(
            "error", f"{failure.fingerprint}, {failure.kind}; --error {failure.fingerprint} means all that failed so"
        )
    tried = "once" if entry.attempts == 1 else f"{entry.attempts} times"
    _print("tried", f"{tried}{_THEN.get(entry.condition, f', then {entry.condition}')}")
    made = "" if entry.created_at_ms is None else f"; it was made at {iso_milliseconds(entry.created_at_ms)}"
    _print("since", f"{iso_milliseconds(entry.parked_at_ms)}{made}")
    _print("waiting", _behind(entry))
    if newer:
        _print("newer", (newer_text(entry, newer), "yellow"))
    if entry.id is not None:
        _print("id", entry.id)
    if failure is not None and failure.traceback:
        _print("traceback", *failure.traceback.splitlines())
    _print("payload", *_payload(entry))
    if entry.condition == PAST_RETENTION:
        _print("to do", "make up for what is lost by other means, from a backup or the table itself, then drop it")
    elif failure is not None:
        _print("to do", failure.directive.remedy)
    meant = _selected(entry, options)
    _print("run again", f"afterwrite parked redrive {meant}")
    _print("give up", f"afterwrite parked drop {meant} --dry-run, then without --dry-run")
    print_line()


def newer_text(entry: ParkedEntry, newer: int) -> str:
    """That newer changes have been delivered since, in words."""
    what = "item" if entry.kind == "change" else "lane"
    return (
        f"{printable(entry.lane)}: {count_text(newer, 'newer change')} of the {what} {'has' if newer == 1 else 'have'} "
        "been delivered since, so this one would come after"
    )


def _print(label: str, *lines: str | tuple[str, str]) -> None:
    """Print a label with what belongs to it, also with a style: beside it where that is one line, else below."""
    shown = [printable(line) if isinstance(line, str) else (printable(line[0]), line[1]) for line in lines]
    if len(shown) == 1:
        print_line(f"  {label.ljust(_LABEL_WIDTH)}", shown[0])
        return
    print_line(f"  {label}")
    for each in shown:
        print_line("    ", each)


def _who(entry: ParkedEntry) -> str:
    raised_by = "" if entry.failure is None else entry.failure.raised_by
    if entry.failure is None:
        return "a change before it, which was dropped"
    if entry.condition == "unreadable":
        return "reading it"
    if not raised_by:
        return "its consumers"
    return f"route {raised_by}" if entry.kind == "change" else f"function {raised_by}"


def _kind(entry: ParkedEntry) -> str:
    """What kind of entry it is; of records how many."""
    if entry.kind != "records":
        return entry.kind
    return count_text(entry.payload["records"] + entry.payload["past_retention"], "record")


def _what(entry: ParkedEntry) -> str:
    if entry.kind == "records":
        lost = entry.payload["past_retention"]
        of_them = f", {lost} of them past its retention" if lost else ""
        return f"{_kind(entry)} of the stream of {entry.held_in}{of_them}"
    if entry.kind == "change":
        return f"a change of the table {entry.held_in} ({entry.payload['eventName']})"
    return f"a message of the queue {entry.held_in}"


def _behind(entry: ParkedEntry) -> str:
    if entry.kind == "dead letter":
        return "nothing: the lane has gone on without it"
    if entry.kind == "records":
        return "nothing: the shard has gone on without them"
    if not entry.behind:
        return "nothing else; what comes for the lane now waits behind it"
    what = "later change" if entry.kind == "change" else "later message"
    return f"{count_text(entry.behind, what)} of the lane, in order behind it"


def _payload(entry: ParkedEntry) -> Iterator[str]:
    if entry.payload is None:
        yield "its bytes are damaged"
        return
    if isinstance(entry.payload, bytes):
        yield "its bytes, as base64:"
    yield from json_lines(entry.payload)


def _selected(entry: ParkedEntry, options: str) -> str:
    """What a command is given to mean the entry."""
    failure = entry.failure
    by_error = "" if failure is None else f" --error {failure.fingerprint}"
    # What no terminal shows as it is can hardly be typed.
    lane = f"{shlex.quote(entry.lane)} " if entry.lane.isprintable() else ""
    # A shard has what every function on it was not able to handle.
    by_function = "" if failure is None or entry.kind != "records" else f" --by {shlex.quote(failure.raised_by)}"
    return f"{lane}--in {shlex.quote(entry.held_in)}{by_function}{'' if lane else by_error}{options}"
