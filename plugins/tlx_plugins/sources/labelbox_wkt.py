"""Well-known text (OGC 06-103r4, section 7), as far as Labelbox wrote it until 2018."""

from __future__ import annotations

import math
import re

Ring = list[tuple[float, float]]

_START = re.compile(
    r"\s*(MULTIPOLYGON|POLYGON|MULTILINESTRING|LINESTRING|MULTIPOINT|POINT)\s*(?:\(|EMPTY\s*$)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[()]|[^()]+")
_RING_DEPTH = {
    "POINT": 1,
    "LINESTRING": 1,
    "MULTIPOINT": 1,
    "POLYGON": 2,
    "MULTILINESTRING": 2,
    "MULTIPOLYGON": 3,
}


def looks_like_wkt(text: str) -> bool:
    """Whether a text is a geometry, not an annotator's answer."""
    return _START.match(text) is not None


def parse(text: str) -> tuple[str, list[list[Ring]]]:
    """Parse a geometry.

    Args:
        text: Such as ``POLYGON ((30 10, 40 40, 20 40, 30 10))``.

    Returns:
        The kind without ``MULTI``, in capitals, and for each part its rings: the outline of a
        polygon, then its holes; one ring for a line; a ring of one vertex for a point. The vertex
        that closes a ring of a polygon is left out.

    Raises:
        ValueError: Says what is wrong with it.
    """
    match = _START.match(text)
    if match is None:
        raise ValueError(f"is no geometry that can be read: {text[:40]!r}")
    kind = match[1].upper()
    single = kind.removeprefix("MULTI")
    rings = _rings(text[match.end(1) :], kind)
    if single == "POINT":
        return single, [[[vertex]] for part in rings for ring in part for vertex in ring]
    if single == "LINESTRING":
        return single, [[ring] for part in rings for ring in part]
    return single, [[_opened(ring) for ring in part] for part in rings]


def _rings(body: str, kind: str) -> list[list[Ring]]:
    """The vertices between the brackets: parts of rings."""
    ring_depth = _RING_DEPTH[kind]
    parts: list[list[Ring]] = []
    depth = 0
    for piece in _TOKEN.findall(body):
        if piece == "(":
            depth += 1
            if depth == ring_depth - 1:
                parts.append([])
        elif piece == ")":
            depth -= 1
            if depth < 0:
                raise ValueError("has a bracket that closes nothing")
        elif depth >= ring_depth:
            # MULTIPOINT may put each vertex into brackets of its own.
            if not parts:
                parts.append([])
            parts[-1].append(_vertices(piece))
        elif piece.strip(" \t\r\n,") not in ("", "EMPTY", "empty"):
            raise ValueError(f"has text outside of its brackets: {piece.strip()[:20]!r}")
    if depth:
        raise ValueError("ends before its brackets are closed")
    return parts


def _vertices(text: str) -> Ring:
    vertices = []
    for pair in text.split(","):
        numbers = pair.split()
        if not numbers:
            continue
        try:
            x, y = float(numbers[0]), float(numbers[1])
        except (ValueError, IndexError):
            raise ValueError(f"has a vertex that is no pair of numbers: {pair[:30]!r}") from None
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"has a vertex that is not finite: {pair[:30]!r}")
        vertices.append((x, y))
    return vertices


def _opened(ring: Ring) -> Ring:
    return ring[:-1] if len(ring) > 1 and ring[0] == ring[-1] else ring
