"""What the ``<meta>`` of a CVAT file says: labels with their attributes, and the tasks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from tlx.model import AttributeValue, Category
from tlx.split_names import usual_split
from tlx_plugins.formats.cvat_xml import Node

InputType = str
"""``checkbox``, ``number``, ``select``, ``radio`` or ``text``."""

_STEP = re.compile(r"step\s*=\s*(\d{1,9})")
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_FLAGS = {"true": True, "false": False}


@dataclass(slots=True)
class Task:
    """A task or job: one run of frames.

    Attributes:
        name: Its name; a job has none.
        task_id: Its number, as text.
        subset: The subset that it is in.
        video: It was made from a video, or labelled frame by frame with tracks.
        start: Number of its first frame.
        stop: Number of its last frame, None if not stated.
        step: Every how many frames of the video one was taken.
        frame_size: Width and height of the frames in pixels.
    """

    name: str | None = None
    task_id: str | None = None
    subset: str | None = None
    video: bool = False
    start: int = 0
    stop: int | None = None
    step: int = 1
    frame_size: tuple[int, int] | None = None


@dataclass(slots=True)
class Meta:
    """The labels and tasks of one file.

    Attributes:
        categories: The labels that stand for themselves, in their order.
        inputs: Of each label the declared attributes with their input type.
        parts: Names of labels that are points of a skeleton.
        task: What the file is an export of; for a project that without a ``task_id``.
        tasks: The tasks of a project by their id.
    """

    categories: list[Category] = field(default_factory=list)
    inputs: dict[str, dict[str, InputType]] = field(default_factory=dict)
    parts: dict[str, dict[str, InputType]] = field(default_factory=dict)
    task: Task = field(default_factory=Task)
    tasks: dict[str, Task] = field(default_factory=dict)

    def task_of(self, values: dict[str, str]) -> Task:
        """The task that an image or track belongs to, by its ``task_id``."""
        return self.tasks.get(values.get("task_id", ""), self.task)


def read_meta(node: Node) -> Meta:
    """Make sense of a ``<meta>`` element; what is absent or odd is taken as not stated."""
    meta = Meta()
    owner = next((c for c in node.children if c.name in {"task", "job", "project"}), None)
    if owner is None:
        return meta
    meta.task = _task(owner, node)
    for task in _inner(owner, "tasks", "task"):
        meta.tasks[task.value("id") or ""] = _task(task, task)
    for label in _inner(owner, "labels", "label"):
        _learn(meta, label)
    return meta


def _inner(node: Node, group: str, name: str) -> Iterator[Node]:
    inside = node.child(group)
    return (child for child in inside.children if child.name == name) if inside else iter(())


def _learn(meta: Meta, label: Node) -> None:
    inside = label.child("name")
    name = inside.text if inside is not None else ""
    if not name:
        return
    inputs = {
        kind_name.text: attribute.value("input_type") or "text"
        for attribute in _inner(label, "attributes", "attribute")
        if (kind_name := attribute.child("name")) is not None
    }
    if label.value("parent") is not None:
        meta.parts.setdefault(name, {}).update(inputs)
        return
    if name not in meta.inputs:
        color = label.value("color") or ""
        shown = color.lower() if _COLOR.fullmatch(color) else None
        meta.categories.append(Category(name=name, color=shown))
    meta.inputs.setdefault(name, {}).update(inputs)


def _task(node: Node, meta: Node) -> Task:
    start = count_of(node.value("start_frame")) or 0
    stop = count_of(node.value("stop_frame"))
    found = _STEP.search(node.value("frame_filter") or "")
    step = max(int(found[1]), 1) if found else 1
    size = count_of(node.value("size"))
    # Exports of 2019 say 0 for a last frame that they do not know.
    if size and (stop is None or (stop == start and size > 1)):
        stop = start + (size - 1) * step
    original = node.child("original_size") or meta.child("original_size")
    width, height = (
        (count_of(original.value("width")), count_of(original.value("height")))
        if original is not None
        else (None, None)
    )
    subset = node.value("subset")
    return Task(
        name=node.value("name"),
        task_id=node.value("id"),
        subset=subset,
        video=node.value("mode") == "interpolation" or original is not None,
        start=start,
        stop=stop,
        step=step,
        frame_size=(width, height) if width and height else None,
    )


def count_of(text: str | None) -> int | None:
    """A whole number from 0 to 2**31 - 1 written in digits; None for anything else."""
    return None if text is None or len(text) > 10 else _short_count(text)


@lru_cache(4096)
def _short_count(text: str) -> int | None:
    value = int(text) if text.isascii() and text.isdigit() else 2**31
    return value if value < 2**31 else None


def split_of(subset: str | None) -> str | None:
    """The split that a subset is: ``default`` is CVAT's word for none."""
    if subset is None or not subset.strip() or subset.strip().lower() == "default":
        return None
    return usual_split(subset.strip()) or subset.strip()


def typed(text: str, kind: InputType | None) -> AttributeValue | None:
    """The value of an attribute in the type that its input has.

    Returns:
        A bool for a checkbox; an int or float for a number; otherwise the text as it is. None
        where the text does not fit the declared input.
    """
    if kind == "checkbox":
        return _FLAGS[text] if text in _FLAGS else _FLAGS.get(text.strip().lower())
    if kind == "number":
        value = text.strip()
        if _INTEGER.fullmatch(value):
            return int(value)
        try:
            number = float(value)
        except ValueError:
            return None
        return number if math.isfinite(number) and "_" not in value else None
    return text
