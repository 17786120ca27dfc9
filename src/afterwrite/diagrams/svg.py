"""A flow as an SVG picture: columns from left to right, each thing after all that leads to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from afterwrite.diagrams.flow import Edge, Flow, Kind, Node

_CHARACTER_PX: Final = 7.2
_PADDING_PX: Final = 14
_BOX_PX: Final = 36
_ROW_PX: Final = 62
_GAP_PX: Final = 70
_MARGIN_PX: Final = 24
_SWEEPS: Final = 8

_FILLS: Final[dict[Kind, str]] = {
    "table": "#dbeafe",
    "kinesis_stream": "#dbeafe",
    "route": "#ffffff",
    "pipe": "#ffffff",
    "topic": "#fef3c7",
    "bus": "#fef3c7",
    "queue": "#ede9fe",
    "function": "#dcfce7",
    "delivery_stream": "#e2e8f0",
    "audit_log": "#e2e8f0",
    "cache": "#fee2e2",
    "search_index": "#e0e7ff",
    "outside": "#ffe4e6",
}
_STYLE: Final = (
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#0f172a}"
    ".what{font-size:9px;fill:#64748b}.edge{font-size:10px;fill:#475569;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    "path{fill:none;stroke:#64748b;stroke-width:1.2}.back{stroke-dasharray:4 4}rect{stroke:#475569}"
)


@dataclass(frozen=True, slots=True)
class _Box:
    node: Node
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.y + _BOX_PX / 2


def svg(flow: Flow) -> str:
    """The flow as the text of an SVG file."""
    columns = _ordered(_columns(flow), flow.edges)
    boxes = _placed(columns, flow.edges)
    width = max((box.x + box.width for box in boxes.values()), default=0) + _MARGIN_PX
    height = max((box.y + _BOX_PX for box in boxes.values()), default=0) + 2 * _MARGIN_PX
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(flow.name)}</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 8 4 0 8z" style="fill:#64748b;stroke:none"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height:.0f}" style="fill:#fff;stroke:none"/>',
            *(_line(boxes[edge.source], boxes[edge.target], edge) for edge in flow.edges),
            *(_box(box) for box in boxes.values()),
            *(_label(boxes[edge.source], boxes[edge.target], edge) for edge in flow.edges if edge.label),
            "</svg>",
            "",
        ]
    )


def _columns(flow: Flow) -> list[list[Node]]:
    """The nodes by how many steps the longest way to them has."""
    depths = {node.id: 0 for node in flow.nodes}
    forward = [edge for edge in flow.edges if not edge.back]
    for _ in flow.nodes:  # the longest way has fewer steps than there are nodes
        for edge in forward:
            depths[edge.target] = max(depths[edge.target], depths[edge.source] + 1)
    columns: list[list[Node]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for node in flow.nodes:
        columns[depths[node.id]].append(node)
    return columns


def _ordered(columns: list[list[Node]], edges: Sequence[Edge]) -> list[list[Node]]:
    """Each column in the order of what its nodes are tied to, so that fewer lines cross."""
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            rows = {node.id: row for each in columns for row, node in enumerate(each)}
            ties: dict[str, list[int]] = {node.id: [rows[node.id]] for node in column}
            for edge in edges:
                near, far = (edge.target, edge.source) if sweep % 2 == 0 else (edge.source, edge.target)
                if near in ties and not edge.back:
                    ties[near].append(rows[far])
            column.sort(key=lambda node: sum(ties[node.id]) / len(ties[node.id]))
    return columns


def _placed(columns: Sequence[Sequence[Node]], edges: Sequence[Edge]) -> dict[str, _Box]:
    boxes: dict[str, _Box] = {}
    tallest = max(map(len, columns), default=0)
    x: float = _MARGIN_PX
    for column in columns:
        width = max(len(node.label) for node in column) * _CHARACTER_PX + 2 * _PADDING_PX
        top = _MARGIN_PX + (tallest - len(column)) * _ROW_PX / 2
        for row, node in enumerate(column):
            boxes[node.id] = _Box(node, x, top + row * _ROW_PX, width)
        names = {node.id for node in column}
        labels = max((len(edge.label) for edge in edges if edge.source in names), default=0)
        x += width + _GAP_PX + labels * _CHARACTER_PX * 0.8
    return boxes


def _box(box: _Box) -> str:
    round_px = _BOX_PX / 2 if box.node.kind == "function" else 4
    what = box.node.kind.replace("_", " ")
    return (
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{_BOX_PX}" rx="{round_px:.0f}" '
        f'fill="{_FILLS[box.node.kind]}"/>'
        f'<text class="what" x="{box.x + _PADDING_PX:.0f}" y="{box.y + 12:.0f}">{what}</text>'
        f'<text x="{box.x + _PADDING_PX:.0f}" y="{box.y + 27:.0f}">{escape(box.node.label)}</text>'
    )


def _line(source: _Box, target: _Box, edge: Edge) -> str:
    if edge.back:
        start, end = source.x, target.x + target.width
        bend = min(source.y, target.y) - _ROW_PX
        path = f"M{start:.0f} {source.y:.0f}C{start:.0f} {bend:.0f} {end:.0f} {bend:.0f} {end:.0f} {target.y:.0f}"
        return f'<path class="back" d="{path}" marker-end="url(#tip)"/>'
    start, end = source.x + source.width, target.x
    half = (start + end) / 2
    path = f"M{start:.0f} {source.middle:.0f}C{half:.0f} {source.middle:.0f} {half:.0f} {target.middle:.0f}"
    return f'<path d="{path} {end:.0f} {target.middle:.0f}" marker-end="url(#tip)"/>'


def _label(source: _Box, target: _Box, edge: Edge) -> str:
    x = (source.x + source.width + target.x) / 2
    y = (source.middle + target.middle) / 2 - 4
    return f'<text class="edge" text-anchor="middle" x="{x:.0f}" y="{y:.0f}">{escape(edge.label)}</text>'
