"""`afterwrite check`: whether everything in the data directory's store is what was written."""

from __future__ import annotations

from afterwrite.cli.parameters import Data, Flag, data_directory
from afterwrite.cli.rendering import count_text, print_json, print_line
from afterwrite.errors import StorageError
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.verification import verify


def check(*, data: Data = None, json: Flag = False) -> int:
    """Read the whole store and verify every entry.

    Checks each entry's checksum, that it can be looked up, that tables hold the items they count, and that every index
    has exactly the entries of its table's items. Works beside a running engine and on a stopped one's directory, and
    changes nothing. Exits with 1 if anything is damaged; then restore from a backup. (Audit logs have a check of their
    own, `afterwrite audit verify`.)

    Parameters
    ----------
    json
        Print one JSON object.
    """
    directory = data_directory(data)
    store = DataDirectory(directory).store
    if not store.is_dir():
        raise StorageError(f"expected a data directory of afterwrite, found no store in {directory}: check the path")
    found = verify(store)
    if json:
        print_json({"data": str(directory), "entries": found.entries, "damage": found.damage})
    elif found.damage:
        for each in found.damage:
            print_line(("damaged ", "red"), each)
    else:
        print_line(("whole", "green"), f": {count_text(found.entries, 'record')} verified")
    return 1 if found.damage else 0
