"""`afterwrite check`: whether everything in the data directory's store is what was written."""

from __future__ import annotations

from dataclasses import asdict

from afterwrite.cli.parameters import Data, Flag, data_directory
from afterwrite.cli.rendering import count_text, print_json, print_line
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.verification import verify


def check(*, data: Data = None, json: Flag = False) -> int:
    """Read the whole store and verify every entry.

    Checks each entry's checksum, that it can be looked up, that tables hold the items they count, and that every index
    has exactly the entries of its table's items. Works beside a running engine and on a stopped one's directory, and
    changes nothing. Exits with 1 if anything is damaged; then restore from a backup. A note is no damage: the size that
    DescribeTable gives for an index is not that of its entries, as in a store that counted sizes by another rule.
    (Audit logs have a check of their own, `afterwrite audit verify`.)

    Parameters
    ----------
    json
        Print one JSON object.
    """
    directory = data_directory(data)
    found = verify(DataDirectory(directory).existing_store())
    if json:
        print_json({"data": str(directory), **asdict(found)})
        return 1 if found.damage else 0
    for each in found.damage:
        print_line(("damaged ", "red"), each)
    if not found.damage:
        print_line(("whole", "green"), f": {count_text(found.entries, 'record')} verified")
    for each in found.figures:
        print_line(("note ", "yellow"), each)
    return 1 if found.damage else 0
