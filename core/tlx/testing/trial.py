"""A plugin under test, with a room to work in and the few things that only its author knows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tlx import options as option_values
from tlx.api import Traits, WriteReport
from tlx.context import Context
from tlx.dataset import Dataset, Operation, to_batches, write_dataset
from tlx.issues import IssueLog, Policy
from tlx.model import Record, Taxonomy

NAMES = ("stop & <go>", 'it\'s "yellow", red', "Straße", "never used", "bus", "no", "person")
"""Classes in no alphabet's order, with what XML, CSV, YAML and shells take for their own."""

Values = Mapping[str, Any]


class Read(NamedTuple):
    """What a reader gave: its records, classes, issues, and the folder of the images."""

    records: list[Record]
    taxonomy: Taxonomy
    issues: IssueLog
    media_root: Path


@dataclass(frozen=True)
class Trial:
    """One check of one plugin.

    Attributes:
        plugin: The source, format, backend, viewer or command.
        room: An empty folder for this check alone.
        make: Puts material that a source recognises below a folder, and returns what to read. A
            format may do without: the kit lets it write some.
        read_options: Options for every reading, as plain values.
        write_options: Options for every writing.
        returns_anyway: Fields that `Traits.drops` declares and that come back to tlx all the same,
            with the reason to declare them.
        added_attributes: Attributes of images and objects that the reader adds to what was written.
        judge: Another reader of the format: it gets what was written and counts objects by class.
        classes: Seven names of classes that the format can hold.
        model: Name of the network that a backend trains; its first one by default.
        train_options: Options for every training, as plain values.
    """

    plugin: Any
    room: Path
    make: Callable[[Path], Path] | None = None
    read_options: Values = field(default_factory=dict)
    write_options: Values = field(default_factory=dict)
    returns_anyway: Mapping[str, str] = field(default_factory=dict)
    added_attributes: tuple[str, ...] = ()
    judge: Callable[[Path], Mapping[str, int]] | None = None
    classes: tuple[str, ...] = NAMES
    model: str | None = None
    train_options: Values = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The plugin's name, for sentences."""
        return str(getattr(self.plugin, "name", type(self.plugin).__name__))

    def options(self, given: Values) -> Any:
        """The plugin's options value."""
        return option_values.build(self.plugin.options, given, repr(self.name))

    def traits(self, given: Values | None = None) -> Traits:
        """What the format declares for its options."""
        chosen = self.options({**self.write_options, **(given or {})})
        return self.plugin.traits(chosen)  # type: ignore[no-any-return]

    def read(self, root: Path, policy: Policy = "fail", **given: Any) -> Read:
        """Read a path to its end, as records."""
        return read(self.plugin, root, policy, **{**self.read_options, **given})

    def write(
        self, dataset: Dataset, dest: Path, policy: Policy = "fail", workers: int = 0, **given: Any
    ) -> tuple[WriteReport, IssueLog]:
        """Write a dataset."""
        chosen = self.options({**self.write_options, **given})
        context = Context(issues=IssueLog(policy), workers=workers)
        return self.plugin.write(dataset, dest, chosen, context), context.issues

    def material(self, name: str = "material") -> Path:
        """Something below the room that the plugin recognises."""
        folder = self.room / name
        if self.make is not None:
            folder.mkdir()
            return self.make(folder)
        from tlx.testing.samples import plain_sample

        self.write(plain_sample(self.classes, self.room / f"{name}-input"), folder)
        return folder

    def many(self, images: int = 48) -> Path:
        """Many images as material, each with forty boxes; of formats only."""
        from tlx.testing.samples import large_sample

        folder = self.room / f"many-{images}"
        self.write(large_sample(self.room / f"{images}-input", images), folder)
        return folder


def read(plugin: Any, root: Path, policy: Policy = "fail", **given: Any) -> Read:
    """Read a path with a source or format to its end, as records."""
    from tlx.schema import batch_to_records

    context = Context(issues=IssueLog(policy))
    options = option_values.build(plugin.options, given, repr(plugin.name))
    reading = plugin.read(root, options, context)
    batches = to_batches(reading.content)
    records = [record for batch in batches for record in batch_to_records(batch)]
    taxonomy = reading.taxonomy() if callable(reading.taxonomy) else reading.taxonomy
    return Read(records, taxonomy, context.issues, reading.media_root)


def digest_of(found: Read) -> str:
    """A number for everything that a reading gave, but for where it lies."""
    total = hashlib.sha256(msgspec.json.encode(found.taxonomy))
    for record in found.records:
        total.update(msgspec.json.encode(record))
    total.update(repr(sorted(found.issues.counts.items())).encode())
    return total.hexdigest()


def store(
    folder: Path,
    content: Iterable[Any],
    taxonomy: Taxonomy | Callable[[], Taxonomy] | Iterable[str],
    media_root: Path,
) -> Dataset:
    """A dataset folder from records or batches, and a taxonomy, a function or plain class names."""
    if not isinstance(taxonomy, Taxonomy) and not callable(taxonomy):
        taxonomy = Taxonomy.of(taxonomy)
    step = Operation(name="test", version="0")
    return write_dataset(folder, content, taxonomy, media_root, (step,))
