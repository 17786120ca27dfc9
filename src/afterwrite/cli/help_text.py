"""Help as plain text, in two aligned columns, for when it is not read on a terminal."""

from __future__ import annotations

import io
import textwrap
from typing import Any, Final

from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions

_WIDTH: Final = 100
_UNWRAPPED: Final = 10_000
_LABEL_WIDTH_MAX: Final = 22


class PlainHelp:
    """The help formatter of the command line where standard output is no terminal."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:  # noqa: ARG002 - cyclopts's contract
        """Print a panel: the commands, the arguments, or the options."""
        if not panel.entries:
            return
        print(f"{_plain(panel.title)}:")
        labels = [", ".join(entry.display_labels_with_metavar) for entry in panel.entries]
        width = min(_LABEL_WIDTH_MAX, max(map(len, labels)))
        indent = " " * (width + 4)
        for label, entry in zip(labels, panel.entries, strict=True):
            lines = textwrap.wrap(_description(entry), _WIDTH - len(indent)) or [""]
            print(f"  {label:<{width}}  {lines[0]}".rstrip())
            for line in lines[1:]:
                print(indent + line)
        print()

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:  # noqa: ARG002 - cyclopts's contract
        """Print the usage line."""
        print(f"Usage: {_plain(usage)}\n")

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:  # noqa: ARG002 - cyclopts's contract
        """Print the paragraphs that say what a command does."""
        for paragraph in _plain(description).splitlines():
            print(textwrap.fill(paragraph, _WIDTH))
        print()


def _description(entry: HelpEntry) -> str:
    notes = [f"[default: {entry.default}]"] if entry.default is not None else []
    notes += ["[required]"] if entry.required else []
    return " ".join([" ".join(_plain(entry.description).split()), *notes])


def _plain(renderable: Any) -> str:
    """The text of what rich would print, with one line a paragraph."""
    output = io.StringIO()
    Console(file=output, width=_UNWRAPPED, highlight=False, markup=False, emoji=False).print(renderable or "")
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()).strip()
