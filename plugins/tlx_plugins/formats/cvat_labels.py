"""What CVAT has to know of the labels before the first image: the ``<labels>`` of a task.

CVAT declares the attributes of each label with an input. A record has typed values and declares
nothing, so the inputs are learned from the values of the whole dataset: flags become a checkbox,
numbers a number, few different texts a select, other texts a text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tlx.model import AttributeValue, Object, Record, Taxonomy
from tlx_plugins.formats.cvat_drawing import Draw, kind_of, point_names, user_attributes
from tlx_plugins.formats.cvat_markup import attribute_text, element, opened

MOST_CHOICES = 50
"""Different texts that a select offers; an attribute with more is a text."""

UNDEFINED = "__undefined__"
"""CVAT's word for "not stated", first of a select's values where an object may lack it."""

_NUMBER = re.compile(r"[+-]?\.?\d")


@dataclass(slots=True)
class Input:
    """What is known of one attribute of one label.

    Attributes:
        kinds: ``checkbox``, ``number`` or ``text``, as the values asked for.
        stated: How many objects state it.
        choices: The texts in the order they were met; one more than a select offers at the most.
        numbers: Least and largest number.
    """

    kinds: set[str] = field(default_factory=set)
    stated: int = 0
    choices: dict[str, None] = field(default_factory=dict)
    numbers: tuple[float, float] = (math.inf, -math.inf)

    def learn(self, value: AttributeValue) -> None:
        """Take one value into account."""
        self.stated += 1
        if isinstance(value, bool):
            self.kinds.add("checkbox")
        elif isinstance(value, str) or not math.isfinite(value) or abs(value) >= 10**18:
            self.kinds.add("text")
            if len(self.choices) <= MOST_CHOICES:
                self.choices[attribute_text(value)] = None
        else:
            self.kinds.add("number")
            self.numbers = (min(self.numbers[0], value), max(self.numbers[1], value))

    @property
    def mixed(self) -> bool:
        """Values of several types share it, which only a text can hold."""
        return len(self.kinds) > 1

    def markup(self, name: str, objects: int) -> str:
        """Its declaration.

        Args:
            name: Of the attribute.
            objects: How many objects have the label.
        """
        kind = "text" if self.mixed else next(iter(self.kinds))
        values: list[str] = []
        default = ""
        if kind == "checkbox":
            values, default = ["false"], "false"
        elif kind == "number":
            low, high = math.floor(self.numbers[0]), math.ceil(self.numbers[1])
            values, default = [str(low), str(high), "1"], str(low)
        elif not self.mixed and self._selectable():
            kind = "select"
            values = [UNDEFINED] * (self.stated < objects) + list(self.choices)
            default = values[0]
        inner = (
            element("name", name)
            + element("mutable", "False")
            + element("input_type", kind)
            + element("default_value", default)
            + element("values", "\n".join(values))
        )
        return f"<attribute>\n{inner}</attribute>\n"

    def _selectable(self) -> bool:
        # Readers take a choice that looks like a number for one: 0003 would become 3.
        return len(self.choices) <= MOST_CHOICES and all(
            text == text.strip() and text and not _NUMBER.match(text) and text.isprintable()
            for text in self.choices
        )


@dataclass(slots=True)
class LabelSpec:
    """What is known of one label: its attributes, how it is drawn, the points of its skeleton."""

    objects: int = 0
    inputs: dict[str, Input] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)
    points: dict[str, tuple[float, float]] = field(default_factory=dict)

    def learn(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Count one object, or tag, with its attributes."""
        self.objects += 1
        for name, value in attributes.items():
            self.inputs.setdefault(name, Input()).learn(value)


class LabelSpecs:
    """The labels of a dataset, learned record by record.

    Args:
        taxonomy: The classes in their order.
        draw: What an object that has several geometries is drawn as.
    """

    def __init__(self, taxonomy: Taxonomy, draw: Draw) -> None:
        self.taxonomy = taxonomy
        self.draw = draw
        self.labels = {name: LabelSpec() for name in taxonomy.names}

    def learn(self, record: Record) -> None:
        """Take the objects and tags of a record into account."""
        for thing in record.objects:
            spec = self.labels[thing.category]
            spec.learn(user_attributes(thing))
            kind = kind_of(thing, self.draw) or "box"
            spec.kinds.add(kind)
            if kind == "skeleton":
                _learn_points(spec.points, thing)
        for label in record.labels:
            self.labels[label.category].learn(tag_attributes(record, label.category)[1])

    def mixed(self) -> Iterator[tuple[str, str]]:
        """Label and name of each attribute that holds values of several types."""
        for label, spec in self.labels.items():
            for name, given in spec.inputs.items():
                if given.mixed:
                    yield label, name

    def markup(self) -> str:
        """The element ``<labels>``."""
        return f"<labels>\n{''.join(self._all())}</labels>\n"

    def _all(self) -> Iterator[str]:
        for category in self.taxonomy.categories:
            spec = self.labels[category.name]
            is_skeleton = spec.kinds == {"skeleton"}
            color = element("color", category.color) if category.color else ""
            inputs = "".join(i.markup(name, spec.objects) for name, i in spec.inputs.items())
            yield (
                f"<label>\n{element('name', category.name)}{color}"
                f"{element('type', 'skeleton' if is_skeleton else 'any')}"
                f"<attributes>\n{inputs}</attributes>\n"
                f"{element('svg', _svg(spec.points)) if is_skeleton else ''}</label>\n"
            )
            for name in spec.points:
                yield (
                    f"<label>\n{element('name', name)}{element('type', 'points')}"
                    f"<attributes>\n</attributes>\n{element('parent', category.name)}</label>\n"
                )


def tag_attributes(
    record: Record, category: str
) -> tuple[dict[str, AttributeValue], dict[str, AttributeValue]]:
    """CVAT's own attributes of a tag, and the user's: those of the image named ``label.name``."""
    prefix = f"{category}."
    mine = {
        name.removeprefix(prefix): value
        for name, value in record.attributes.items()
        if name.startswith(prefix)
    }
    own: dict[str, AttributeValue] = {
        name: mine.pop(name) for name in ("source", "group_id") if name in mine
    }
    return own, mine


def _learn_points(points: dict[str, tuple[float, float]], thing: Object) -> None:
    """Places of a skeleton's points in the first object that has them, in 0..100 of its bounds."""
    xs = [point.x for point in thing.keypoints]
    ys = [point.y for point in thing.keypoints]
    width, height = max(max(xs) - min(xs), 1e-9), max(max(ys) - min(ys), 1e-9)
    for name, point in zip(point_names(thing), thing.keypoints, strict=True):
        place = (5 + 90 * (point.x - min(xs)) / width, 5 + 90 * (point.y - min(ys)) / height)
        points.setdefault(name, place)


def _svg(points: Mapping[str, tuple[float, float]]) -> str:
    """The drawing that CVAT wants of a skeleton: one circle for each point."""
    return "".join(_circle(number, name, *place) for number, (name, place) in _numbered(points))


def _numbered(
    points: Mapping[str, tuple[float, float]],
) -> Iterable[tuple[int, tuple[str, tuple[float, float]]]]:
    return enumerate(points.items(), 1)


def _circle(number: int, name: str, x: float, y: float) -> str:
    facts = {
        "r": "1.5",
        "cx": f"{x:.2f}",
        "cy": f"{y:.2f}",
        "data-type": "element node",
        "data-element-id": str(number),
        "data-node-id": str(number),
        "data-label-name": name,
    }
    return f"{opened('circle', facts)}</circle>"
