"""`afterwrite audit history`: an item's life, each change with what was before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from difflib import get_close_matches
from itertools import islice
from typing import Any, Final

from afterwrite.cli.parameters import Data, Flag, data_directory
from afterwrite.cli.rendering import count_text, print_json, print_line, printable
from afterwrite.core import json_text
from afterwrite.errors import CommandError
from afterwrite.inspection import DataReader, open_data
from afterwrite.local.audit.history import ItemEvent, WantedItem, keys_of

_STYLES: Final = {"INSERT": "green", "MODIFY": "cyan", "REMOVE": "red"}
_ABSENT: Final = "-"
# Among so many events a key that was perhaps meant is looked for.
_LOOKED_AT_MAX: Final = 100_000
_SUGGESTIONS: Final = 3


def history(
    key: str,
    sort_key: str | None = None,
    /,
    *,
    log: str | None = None,
    by: str | None = None,
    data: Data = None,
    json: Flag = False,
) -> None:
    """Tell an item's life: each change with what was before and after, when, and by whom where that is known.

    Reads what the audit logs hold of the item, and of what is in none of them what the change log still keeps. Works
    beside a running engine and on a stopped one's directory; what it shows is not verified (`audit verify` does that).

    Parameters
    ----------
    key
        The item's partition key.
    sort_key
        Its sort key. Default: every item with the partition key.
    log
        Only what this audit log holds.
    by
        The attribute of the items that says who wrote them, for entries that do not say it.
    json
        Print one JSON object a change.
    """
    wanted = WantedItem(key, sort_key)
    with open_data(data_directory(data)) as reader:
        if log is not None:
            logs_meant(reader, log)
        found = sorted(reader.item_events(wanted, log=log), key=lambda event: event.at)
        if not found:
            raise CommandError(_unknown(reader, wanted, log))
    for event in found:
        who = event.by if event.by is not None or by is None else (event.after or {}).get(by)
        if json:
            print_json({**asdict(event), "by": who})
        else:
            _show(event, who)
    if not json:
        print_line(count_text(len(found), "change"))


def logs_meant(reader: DataReader, log: str | None) -> Sequence[str]:
    """The audit log that is named, or every one of the app. Raises CommandError for one that it has not."""
    known = reader.audit_logs()
    if log is not None and log not in known:
        raise CommandError(f"expected an audit log of this app ({', '.join(known) or 'it has none'}), got {log!r}")
    return known if log is None else [log]


def _unknown(reader: DataReader, wanted: WantedItem, log: str | None) -> str:
    keys: dict[str, None] = {}
    for event in islice(reader.item_events(log=log), _LOOKED_AT_MAX):
        keys.update(dict.fromkeys(keys_of(event)))
    where = "the audit logs and the change log hold" if log is None else f"the audit log {log} holds"
    shown = wanted.key if wanted.sort_key is None else f"{wanted.key} with the sort key {wanted.sort_key}"
    if not keys:
        return f"expected a key that {where} something of, got {shown}: they name no item's keys at all"
    if wanted.key in keys:
        return f"expected a key that {where} something of, got {shown}: leave out the sort key to see what there is"
    close = get_close_matches(wanted.key, keys, _SUGGESTIONS, cutoff=0.5) or list(islice(keys, _SUGGESTIONS))
    return (
        f"expected a key that {where} something of, got {shown}: did you mean "
        f"{' or '.join(printable(each) for each in close)}?"
    )


def _show(event: ItemEvent, who: Any) -> None:
    keys = " ".join(f"{printable(name)}={_text(value)}" for name, value in (event.keys or {}).items())
    print_line(
        event.at,
        "  ",
        (f"{event.event_name or _ABSENT:<6}", _STYLES.get(event.event_name or "", "cyan")),
        f"  {printable(event.table or _ABSENT)}  {keys}".rstrip(),
        "" if who is None else f"  by {_who(who)}",
        f"  ({event.source} {event.number})",
    )
    for name, before, after in event.differences():
        line = {"INSERT": _text(after), "REMOVE": _text(before)}.get(event.event_name or "")
        print_line(f"    {printable(name)}: {line or f'{_text(before)} -> {_text(after)}'}")
    for name, value in event.more.items() if event.before is None and event.after is None else ():
        print_line(f"    {printable(name)}: {_text(value)}")


def _who(who: Any) -> str:
    if isinstance(who, dict) and "principalId" in who:
        return printable(str(who["principalId"]))
    return _text(who)


def _text(value: Any) -> str:
    if value is None:
        return _ABSENT
    return printable(value) if isinstance(value, str) else printable(json_text.dumps(value).decode())
