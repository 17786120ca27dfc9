"""A flow as Mermaid's text, which GitHub and many editors draw."""

from __future__ import annotations

from typing import Final

from afterwrite.diagrams.flow import Edge, Flow, Kind, Node

_SHAPES: Final[dict[Kind, tuple[str, str]]] = {
    "table": ("[(", ")]"),
    "kinesis_stream": ("[/", "/]"),
    "route": ("[", "]"),
    "pipe": ("[", "]"),
    "topic": ("{{", "}}"),
    "bus": ("{{", "}}"),
    "queue": ("[/", "/]"),
    "function": ("([", "])"),
    "delivery_stream": ("[(", ")]"),
    "audit_log": ("[(", ")]"),
    "cache": ("[(", ")]"),
    "search_index": ("[(", ")]"),
    "outside": (">", "]"),
}


def mermaid(flow: Flow) -> str:
    """The flow as a flowchart from left to right."""
    lines = ["flowchart LR", *map(_node, flow.nodes), *map(_edge, flow.edges)]
    return "\n    ".join(lines) + "\n"


def _node(node: Node) -> str:
    opening, closing = _SHAPES[node.kind]
    return f'{node.id}{opening}"{_quoted(node.label)}"{closing}'


def _edge(edge: Edge) -> str:
    arrow = "-.->" if edge.back else "-->"
    label = f'|"{_quoted(edge.label)}"|' if edge.label else ""
    return f"{edge.source} {arrow}{label} {edge.target}"


def _quoted(text: str) -> str:
    """The text as it may stand between quotation marks; '#' begins an entity there."""
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
