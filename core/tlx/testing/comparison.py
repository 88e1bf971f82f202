"""What differs between records before a writer and after its reader, field by field."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tlx.api import Traits
from tlx.model import Object, Record

RECORD_FIELDS = ("width", "height", "split", "group", "frame", "labels", "attributes")
OBJECT_FIELDS = (
    "box",
    "object_id",
    "segmentation.polygons",
    "segmentation.counts",
    "shape",
    "rotation",
    "keypoints",
    "track",
    "crowd",
    "difficult",
    "truncated",
    "occluded",
    "attributes",
)
"""What is compared. Where a record was read (``origin``, ``line``) is another fact after each
reading, and where its image lies depends on the option for media."""

EXACT = 1e-6
"""A millionth of a pixel is no loss: a format of ten decimals need not declare it."""

Differences = Mapping[str, list[str]]
"""Field of the schema, to sentences on where it came back otherwise."""


def _get(value: Any, field: str) -> Any:
    """A field by its dotted name; nothing, an empty list and no attributes are all None."""
    for name in field.split("."):
        value = None if value is None else getattr(value, name)
    return None if isinstance(value, tuple | dict | bytes) and not value else value


def differences(
    before: Iterable[Record],
    after: Iterable[Record],
    *,
    added_attributes: Sequence[str] = (),
    rounding: Mapping[str, float] | None = None,
) -> Differences:
    """Compare records by image id, objects in their order or else by class and place.

    Args:
        before: What was written.
        after: What was read back.
        added_attributes: Attributes that the reader adds; they do not count.
        rounding: By field, how far numbers may lie from each other, in pixels.

    Returns:
        Fields that differ; ``image_id`` for images that are lost or new, ``objects`` for objects
        that are, and ``objects.category`` for classes.
    """
    found: dict[str, list[str]] = defaultdict(list)
    rest = {record.image_id: record for record in after}
    for old in before:
        new = rest.pop(old.image_id, None)
        if new is None:
            found["image_id"].append(f"{old.image_id} is lost")
        else:
            _compare(old, new, found, frozenset(added_attributes), rounding or {})
    for image_id in rest:
        found["image_id"].append(f"{image_id} is new")
    return found


def _compare(
    old: Record,
    new: Record,
    found: dict[str, list[str]],
    added: frozenset[str],
    rounding: Mapping[str, float],
) -> None:
    def note(field: str, was: Any, now: Any, far: float) -> None:
        if field.endswith("attributes"):
            was, now = ({k: v for k, v in (m or {}).items() if k not in added} for m in (was, now))
        if not _same(was, now, far):
            found[field].append(f"{old.image_id}: {was!r} came back as {now!r}")

    for field in RECORD_FIELDS:
        note(field, _get(old, field), _get(new, field), 0.0)
    if len(old.objects) != len(new.objects):
        words = f"{old.image_id}: {len(old.objects)} objects came back as {len(new.objects)}"
        found["objects"].append(words)
        return
    for was, now in _pairs(old.objects, new.objects):
        note("objects.category", was.category, now.category, 0.0)
        for field in OBJECT_FIELDS:
            name = f"objects.{field}"
            far = next((far for r, far in rounding.items() if covers(r, name)), EXACT)
            note(name, _get(was, field), _get(now, field), far)


def _pairs(old: Sequence[Object], new: Sequence[Object]) -> Iterable[tuple[Object, Object]]:
    """Objects that are the same one: in their order, or by class and place if that was changed."""
    if [o.category for o in old] != [o.category for o in new]:
        old, new = sorted(old, key=_place), sorted(new, key=_place)
    return zip(old, new, strict=True)


def _place(thing: Object) -> tuple[Any, ...]:
    box = thing.box
    corners = (0.0,) * 4 if box is None else (box.xmin, box.ymin, box.xmax, box.ymax)
    return (thing.category, *(round(corner, 1) for corner in corners))


def _same(was: Any, now: Any, far: float) -> bool:
    """Equal in value and type; numbers may be ``far`` apart."""
    if isinstance(was, float) and isinstance(now, float):
        return math.isclose(was, now, rel_tol=0.0, abs_tol=far) if far else was == now
    if type(was) is not type(now):
        return False
    if isinstance(was, tuple):
        return len(was) == len(now) and all(_same(a, b, far) for a, b in zip(was, now, strict=True))
    if isinstance(was, dict):
        return was.keys() == now.keys() and all(_same(was[k], now[k], far) for k in was)
    if hasattr(was, "__struct_fields__"):
        return all(_same(getattr(was, f), getattr(now, f), far) for f in was.__struct_fields__)
    return bool(was == now)


def covers(declared: str, field: str) -> bool:
    """Whether a declaration about a field holds for another one, as a part of it or the whole."""
    return field == declared or field.startswith(f"{declared}.")


def stated(records: Iterable[Record]) -> set[str]:
    """The fields that some record or object states."""
    found = set()
    for record in records:
        found |= {f for f in RECORD_FIELDS if _get(record, f) is not None}
        for thing in record.objects:
            found |= {f"objects.{f}" for f in OBJECT_FIELDS if _get(thing, f) is not None}
    return found


def undeclared(found: Differences, traits: Traits) -> dict[str, list[str]]:
    """The differences that the traits say nothing about.

    A field that is dropped may come back in any way; one that is rounded may not (a pixel was
    allowed for before), but for outlines, which are drawn anew; one that is assumed may come back
    stated where it was not.
    """
    rest: dict[str, list[str]] = {}
    redrawn = tuple(field for field in traits.rounds if field.startswith("objects.segmentation"))
    for field, words in found.items():
        if any(covers(d, field) or covers(field, d) for d in (*traits.drops, *redrawn)):
            continue
        assumed = any(covers(field, a) or covers(a, field) for a in traits.assumes)
        left = [w for w in words if not (assumed and ": None came back as " in w)]
        if left:
            rest[field] = left
    return rest
