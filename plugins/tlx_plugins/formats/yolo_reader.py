"""From YOLO text labels to records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tlx.bad_input import duplicate_action, duplicate_hint
from tlx.box_policy import fault_of, settle, shown
from tlx.context import Context
from tlx.issues import Issue
from tlx.media import image_header
from tlx.model import Box, Category, Object, Origin, Record, Segmentation, Taxonomy
from tlx.orientation import ground_of
from tlx_plugins.formats.yolo_layout import ImageFile, Layout
from tlx_plugins.formats.yolo_obb import rotated_box

if TYPE_CHECKING:
    from tlx_plugins.formats.yolo import YoloOptions


_PIXEL_DECIMALS = 6
"""Fractions of a millionth of a pixel are noise of the division."""


class YoloReader:
    """Reads the images of a layout in order.

    Args:
        layout: Where everything lies.
        options: The user's choices.
        context: Progress and issues.
    """

    def __init__(self, layout: Layout, options: YoloOptions, context: Context) -> None:
        self.layout = layout
        self.options = options
        self.context = context
        self.names = dict(layout.names)
        self.rectangles = "obb" in (options.task, layout.task)
        self.unnamed: set[int] = set()
        inner = Counter(image.inner for image in layout.images)
        self.short = max(inner.values(), default=1) == 1

    def taxonomy(self) -> Taxonomy:
        """The classes by their number."""
        first: dict[str, int] = {}
        for number, name in sorted(self.names.items()):
            first.setdefault(name, number)
        return Taxonomy(tuple(Category(name=name, source_id=n) for name, n in first.items()))

    def records(self) -> Iterator[Record]:
        """All records; images in the order of the layout."""
        if not self.names:
            message = "nobody names the classes; their numbers are taken as names."
            hint = "Add data.yaml with names, or classes.txt with one name per line."
            self._report("no-names", message, "", action="kept", hint=hint)
        for name in self.layout.strays:
            message = "these labels have no image, and so no size."
            hint = "Put the image in its place, or go on without: --on-error skip"
            self._report("missing-image", message, name, hint=hint)
        images = self.layout.images
        unlabelled = 0
        for image in self.context.progress.track(images, "reading labels", len(images)):
            unlabelled += image.labels is None
            if image.labels is None and self.options.unlabelled == "leave":
                continue
            record = self._record(image)
            if record is not None:
                yield record
        if unlabelled:
            done = "left out" if self.options.unlabelled == "leave" else "taken as without objects"
            message = f"{unlabelled} images have no text file; {done}."
            self._report("unlabelled", message, "", action="kept")

    def _record(self, image: ImageFile) -> Record | None:
        header = image_header(f"{self.layout.root}/{image.path}")
        ground = ground_of(
            header,
            None,
            self.options.exif,
            "this image",
            lambda code, message, action, hint: self._report(
                code, message, image.path, None, action, hint
            ),
        )
        if ground is None:
            return None
        size = ground.size
        rows = self._rows(image.labels) if image.labels is not None else []
        if rows is None:
            return None
        if size is None:
            message = "this image cannot be read, and its labels are fractions of its size."
            action = "skipped" if rows else "kept"
            self._report("unreadable-image", message, image.path, action=action)
            if rows:
                return None
        objects = []
        seen: set[Object] | set[tuple[object, ...]] = set()
        for line, text in rows:
            thing = self._object(line, text, size or (1, 1), image.labels or "")
            if thing is None:
                continue
            key = (thing.category, thing.box, thing.rotation, thing.segmentation)
            if key in seen and self.options.duplicates != "keep":
                message = f"an object {thing.category!r} is there twice."
                action = duplicate_action(self.options.duplicates, same=True)
                hint = duplicate_hint(self.options.duplicates)
                self._report("duplicate-object", message, image.labels or "", line, action, hint)
                continue
            seen.add(key)  # type: ignore[arg-type]
            objects.append(thing)
        return Record(
            image_id=image.inner if self.short else image.path,
            uri=image.path,
            width=ground.stored[0] if ground.stored else None,
            height=ground.stored[1] if ground.stored else None,
            split=self.options.split or image.split,
            objects=ground.brought_back(objects),
            origin=Origin(image.labels, 1) if image.labels is not None else None,
        )

    def _rows(self, name: str) -> list[tuple[int, str]] | None:
        try:
            with open(f"{self.layout.root}/{name}", "rb") as file:  # noqa: PTH123 - many times
                text = file.read().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self._report("unreadable-file", f"these labels cannot be read: {error}.", name)
            return None
        rows = enumerate(text.splitlines(), start=1)
        return [(number, row) for number, row in rows if row and not row.isspace()]

    def _object(self, line: int, text: str, size: tuple[int, int], file: str) -> Object | None:
        values = _numbers(text)
        if values is None or not values[0].is_integer() or not 0 <= values[0] < 1 << 30:
            message = f"{text[:80]!r} is no class number with finite numbers behind it."
            self._report("bad-row", message, file, line)
            return None
        category = self._category(int(values[0]), file, line)
        if category is None:
            return None
        width, height = size
        segmentation = rotation = None
        if len(values) == 5:
            x, y, w, h = values[1:]
            box = Box(
                round((x - w / 2) * width, _PIXEL_DECIMALS),
                round((y - h / 2) * height, _PIXEL_DECIMALS),
                round((x + w / 2) * width, _PIXEL_DECIMALS),
                round((y + h / 2) * height, _PIXEL_DECIMALS),
            )
        elif len(values) >= 7 and len(values) % 2:
            xs = [round(value * width, _PIXEL_DECIMALS) for value in values[1::2]]
            ys = [round(value * height, _PIXEL_DECIMALS) for value in values[2::2]]
            points = tuple(value for point in zip(xs, ys, strict=True) for value in point)
            turned = None
            if self.rectangles and len(values) == 9:
                exact = zip(
                    (value * width for value in values[1::2]),
                    (value * height for value in values[2::2]),
                    strict=True,
                )
                turned = rotated_box(list(exact))
            if turned is not None:
                box, rotation = turned
            else:
                segmentation = Segmentation(polygons=(points,))
                box = Box(min(xs), min(ys), max(xs), max(ys))
        else:
            scored = "; a sixth is the score of a prediction" if len(values) == 6 else ""
            message = f"has {len(values)} numbers where 5, or 7, 9, ... are needed{scored}."
            self._report("bad-row", message, file, line)
            return None
        fault = fault_of(box, size)
        kept: Box | None = box
        if fault is not None:
            kept = settle(
                box,
                size,
                fault,
                self.options.bad_boxes,
                f"the box {shown(box)} of {category!r}",
                lambda code, message, action, hint: self._report(
                    code, message, file, line, action, hint
                ),
            )
        if kept is None:
            return None
        return Object(
            category=category, box=kept, segmentation=segmentation, rotation=rotation, line=line
        )

    def _category(self, number: int, file: str, line: int) -> str | None:
        name = self.names.get(number)
        if name is not None:
            return name
        if self.layout.names:
            message = f"the class number {number} has no name; there are {len(self.names)} names."
            self._report("unknown-category", message, file, line)
            return None
        self.names[number] = str(number)
        return self.names[number]

    def _report(
        self,
        code: str,
        message: str,
        path: str,
        line: int | None = None,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        place = str(self.layout.root / path)
        self.context.issues.report(Issue(code, message, place, line, action, hint))


def _numbers(text: str) -> list[float] | None:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        return None
    return values if values and all(map(math.isfinite, values)) else None
