"""The command line. Each command is a module; this one puts them together and turns errors into messages."""

from __future__ import annotations

import sys

from cyclopts import App as CommandLine

from afterwrite.cli import running
from afterwrite.errors import AfterwriteError

command_line = CommandLine(
    name="afterwrite",
    help="Say what should happen after each write to a DynamoDB table, and it happens: in order per key, once.",
    help_format="markdown",
    version_flags=["--version"],
)
command_line.command(running.run)


def main() -> None:
    """Run the command line; an error of afterwrite is a message on standard error and exit status 2."""
    try:
        command_line()
    except AfterwriteError as error:
        print(f"afterwrite: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
