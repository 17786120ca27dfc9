"""`afterwrite forget`: a person's content, erased from a data directory."""

from __future__ import annotations

from pathlib import Path

from afterwrite import forgetting
from afterwrite.cli.loading import load_app
from afterwrite.cli.parameters import Data, Flag, Several, data_directory
from afterwrite.cli.rendering import print_json, print_line, printable


def forget(
    key: str,
    /,
    *,
    also: Several = None,
    table: Several = None,
    app: Path | None = None,
    dry_run: Flag = False,
    data: Data = None,
    json: Flag = False,
) -> int:
    """Erase what is kept of a partition key's items, for good. Only while no engine runs.

    The items are deleted, and what follows when the engine next runs is a REMOVE with the keys alone: routes, functions
    and targets are told. Their changes, parked ones, messages, buffered records, archived events and what functions
    answered are erased, and the files of the lake and of search indexes written anew without them. What caches in Redis
    and indexes in OpenSearch hold is taken out. Entries of forgettable audit logs stay, encrypted, and their key is
    destroyed, so the logs verify as before. Then the store's file is written anew, and what it was is overwritten. What
    is not erased here is named, and then the exit status is 1: audit logs in clear, files that functions wrote, caches
    and indexes that cannot be reached. Backups and what other targets outside hold are yours to see to.

    Parameters
    ----------
    key
        The partition key, whole.
    also
        Another text that stands for the same person, such as a session's id; may be given several times. These and the
        key are looked for wherever they are a whole value.
    table
        Only this table; may be given several times. Default: every table.
    app
        The Python file that declares the App of the directory. Needed where it has caches, or indexes in OpenSearch.
    dry_run
        Say what would be erased, and change nothing.
    json
        Print one JSON object.
    """
    done = forgetting.forget(
        data_directory(data),
        key,
        also=also or (),
        only_tables=table or (),
        app=None if app is None else load_app(app),
        dry_run=dry_run,
    )
    if json:
        print_json({"key": key, "dry_run": dry_run, "erased": done.erased, "left": done.left})
        return 1 if done.left else 0
    print_line("would be erased" if dry_run else "erased", ": ", (printable(key), "bold"))
    for what, count in done.erased.items():
        print_line(f"  {what}: {count}")
    for each in done.left:
        print_line(("  left  ", "bold red"), printable(each))
    if not dry_run:
        print_line("Backups that were made before hold it still; what a restored one holds must be forgotten again.")
    return 1 if done.left else 0
