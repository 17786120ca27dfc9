"""`afterwrite graph`: an app's flow as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from afterwrite.cli.loading import load_app
from afterwrite.diagrams.flow import flow_of
from afterwrite.diagrams.mermaid import mermaid
from afterwrite.diagrams.svg import svg


def graph(app: Path, /, *, format: Literal["mermaid", "svg"] = "mermaid") -> int:
    """Draw an app: its tables, routes and all that follows.

    The picture is printed. A route's targets and a function's tables are those that their code names; nothing is run
    but the app's file.

    Parameters
    ----------
    app
        The Python file that declares the App.
    format
        `mermaid`, text for Markdown, or `svg`, a picture.
    """
    flow = flow_of(load_app(app))
    print(svg(flow) if format == "svg" else mermaid(flow), end="")
    return 0
