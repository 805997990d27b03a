"""Draws the states of a job as an SVG of boxes and arrows, without a browser or another program.

This module knows where the boxes are. The caller says which arrows there are, and their labels.
"""

from collections.abc import Iterator, Mapping
from math import atan2, cos, hypot, sin
from xml.sax.saxutils import escape

Point = tuple[float, float]

_WIDTH, _HEIGHT = 1000, 520
_BOX: Point = (120, 40)
# The centre of each state's box, and of the dot for a job that does not exist yet.
_PLACES: dict[str, Point] = {
    "[*]": (60, 60),
    "scheduled": (200, 160),
    "queued": (500, 160),
    "running": (820, 160),
    "paused": (500, 310),
    "failed": (240, 460),
    "cancelled": (660, 460),
    "succeeded": (880, 460),
}
# How far an arrow bends to its left. Other arrows are straight.
_BENDS: dict[tuple[str, str], float] = {
    ("[*]", "queued"): 30,
    ("queued", "running"): 18,
    ("running", "queued"): 18,
    ("running", "scheduled"): -110,
    ("queued", "paused"): 14,
    ("paused", "queued"): 14,
    ("scheduled", "paused"): 12,
    ("paused", "scheduled"): 12,
    ("scheduled", "cancelled"): -55,
    ("running", "failed"): 75,
}
_DOT_RADIUS = 9
_STYLE = (
    "text{font:14px sans-serif;fill:#222;text-anchor:middle}"
    ".box{fill:#e8eef7;stroke:#345;stroke-width:1.5}.end{fill:#e9f3e6}"
    ".line{fill:none;stroke:#345;stroke-width:1.3;marker-end:url(#head)}"
    ".label{font-size:12.5px;paint-order:stroke;stroke:#fff;stroke-width:4px}"
)


def drawing(arrows: Mapping[tuple[str, str], list[str]], ends: frozenset[str]) -> str:
    """arrows: the labels of each arrow, by (source, target). The source "[*]" is the start. ends:
    the states that end a job.

    An arrow whose only label is the name of its target gets no label. KeyError for a state without
    a place.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        "<title>The states of a job</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#345"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    labels: list[str] = []
    for (source, target), reasons in arrows.items():
        path, place = _loop(source) if source == target else _arrow(source, target)
        parts.append(path)
        if reasons != [target]:
            labels += _label(place, reasons)
    parts += [*_boxes(arrows, ends), *labels, "</svg>"]
    return "\n".join(parts) + "\n"


def _boxes(arrows: Mapping[tuple[str, str], list[str]], ends: frozenset[str]) -> Iterator[str]:
    width, height = _BOX
    for state in sorted({state for arrow in arrows for state in arrow}):
        x, y = _PLACES[state]
        if state == "[*]":
            yield f'<circle cx="{x}" cy="{y}" r="{_DOT_RADIUS}" fill="#345"/>'
            continue
        kind = "box end" if state in ends else "box"
        corner = f'x="{x - width / 2:g}" y="{y - height / 2:g}"'
        yield f'<rect class="{kind}" {corner} width="{width}" height="{height}" rx="8"/>'
        yield f'<text x="{x}" y="{y + 5}">{escape(state)}</text>'


def _arrow(source: str, target: str) -> tuple[str, Point]:
    """-> the path from border to border, and the place of its label"""
    (x1, y1), (x2, y2) = _PLACES[source], _PLACES[target]
    bend = _BENDS.get((source, target), 0.0)
    length = hypot(x2 - x1, y2 - y1)
    middle = ((x1 + x2) / 2 + (y2 - y1) / length * bend, (y1 + y2) / 2 - (x2 - x1) / length * bend)
    control = (2 * middle[0] - (x1 + x2) / 2, 2 * middle[1] - (y1 + y2) / 2)
    (ax, ay), (bx, by) = _border(source, control), _border(target, control)
    path = f"M{ax:.1f} {ay:.1f}Q{control[0]:.1f} {control[1]:.1f} {bx:.1f} {by:.1f}"
    return f'<path class="line" d="{path}"/>', middle


def _loop(state: str) -> tuple[str, Point]:
    x, y = _PLACES[state]
    side, half = x + _BOX[0] / 2, _BOX[1] / 2
    path = f"M{x + 20} {y - half:g}C{x + 30} {y - 75} {side + 40:g} {y - 60} {side:g} {y - 8}"
    return f'<path class="line" d="{path}"/>', (x + 50, y - 100)


def _border(state: str, towards: Point) -> Point:
    """The point where the path from the middle of a box to another point leaves the box."""
    x, y = _PLACES[state]
    dx, dy = towards[0] - x, towards[1] - y
    if state == "[*]":
        angle = atan2(dy, dx)
        return x + _DOT_RADIUS * cos(angle), y + _DOT_RADIUS * sin(angle)
    scale = min(_BOX[0] / 2 / abs(dx) if dx else 1e9, _BOX[1] / 2 / abs(dy) if dy else 1e9)
    return x + dx * scale, y + dy * scale


def _label(place: Point, reasons: list[str]) -> Iterator[str]:
    """One line of text for each reason."""
    x, y = place
    for number, reason in enumerate(reasons):
        baseline = y + 4 + 15 * (number - (len(reasons) - 1) / 2)
        yield f'<text class="label" x="{x:.1f}" y="{baseline:.1f}">{escape(reason)}</text>'
