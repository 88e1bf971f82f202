"""The class of an object from its text, its number and the label map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tlx.model import Category, Taxonomy
from tlx_plugins.formats.tfrecord_label_map import Item

Note = Callable[[str, str, str], None]
"""Takes the code of an issue, a message, and the action."""


@dataclass(slots=True)
class Classes:
    """The classes of all sets: those of label maps in their order, then others by number."""

    declared: dict[str, Category] = field(default_factory=dict)
    learned: dict[str, Category] = field(default_factory=dict)

    def taxonomy(self) -> Taxonomy:
        """What was met so far."""
        learned = list(self.learned.values())
        numbers = [category.source_id for category in learned]
        if None not in numbers and len(set(numbers)) == len(numbers):
            learned.sort(key=lambda category: category.source_id or 0)
        return Taxonomy((*self.declared.values(), *learned))

    def learn(self, name: str, number: int | None) -> str:
        """Note a class that no label map has."""
        if name not in self.declared:
            known = self.learned.get(name)
            if known is None or (known.source_id is None and number is not None):
                self.learned[name] = Category(name=name, source_id=number)
        return name


class LabelMap:
    """Finds classes for the records of one set, as the TF Object Detection API does.

    Where there is a label map, its decoder looks up the text first, among names and display names,
    and takes the larger of two hits; the number counts where there is no text
    (tensorflow/models ``data_decoders/tf_example_decoder.py``).

    Args:
        items: Of the label map; empty without one.
        classes: Takes the classes that are met.
        note: Takes what is odd in the label map.
    """

    def __init__(self, items: Iterable[Item], classes: Classes, note: Note) -> None:
        self.classes = classes
        self.by_id: dict[int, str] = {}
        self.by_text: dict[str, tuple[int, str]] = {}
        items = tuple(items)
        shown = Counter(item.shown for item in items)
        for item in items:
            # Two classes that people read alike keep their names apart.
            name = item.shown if shown[item.shown] == 1 else item.name
            if item.item_id in self.by_id:
                message = f"the id {item.item_id} appears twice; {name!r} is left out."
                note("label-map", message, "skipped")
                continue
            if item.item_id == 0 and item.name != "background":
                message = f"the id 0 of {name!r} is the background's for TensorFlow."
                note("label-map", message, "kept")
            repeated = name in self.by_id.values()
            if repeated:
                note("label-map", f"{name!r} has several ids; they become one class.", "merged")
            self.by_id[item.item_id] = name
            for text in {item.name, item.display_name or item.name}:
                known = self.by_text.get(text)
                if known is None or known[0] < item.item_id:
                    self.by_text[text] = (item.item_id, name)
            if item.item_id or item.name != "background":
                known_class = classes.declared.setdefault(
                    name, Category(name=name, source_id=item.item_id)
                )
                if known_class.source_id != item.item_id and not repeated:
                    message = f"{name!r} has the id {item.item_id} here, another one before."
                    note("label-map", message, "kept")

    def find(self, text: str, number: int | None, note: Note) -> str | None:
        """The class name for a text, which may be empty, and a number; None if there is none."""
        if text:
            hit = self.by_text.get(text)
            if hit is not None:
                if number is not None and self.by_id.get(number, hit[1]) != hit[1]:
                    message = f"the class {text!r} has the number {number}, in the label map "
                    note("class-number", f"{message}{hit[0]}; the text holds.", "kept")
                return self._named(hit[0], hit[1])
            if self.by_text:
                message = f"the class {text!r} is not in the label map; it becomes one of its own."
                note("class-not-in-map", message, "kept")
            return self.classes.learn(text, None if self.by_text else number)
        if number is None:
            return None
        name = self.by_id.get(number)
        if name is not None:
            return self._named(number, name)
        if self.by_id:
            return None
        note("no-label-map", "no label map: classes without a text are named by number.", "kept")
        return self.classes.learn(str(number), number)

    def _named(self, number: int, name: str) -> str:
        # The background is a class only where objects have it.
        return name if name in self.classes.declared else self.classes.learn(name, number)
