"""A format: JSON lines that hold everything that tlx knows of an image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tlx.api import Match, Reading, Traits, WriteReport
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError, UsageError
from tlx.file_names import output_name
from tlx.issues import Issue
from tlx.media_transfer import Media, bring
from tlx.model import Origin, Record, Taxonomy
from tlx.model import replace as changed

FILE = "labels.toy.jsonl"
_TAG = "tlx toy"
_MARK = b"\xef\xbb\xbf"


class Head(msgspec.Struct, tag=_TAG):
    """The first line of a file: the classes, and where the images are unless they came along."""

    taxonomy: Taxonomy
    media_root: str | None


@dataclass(frozen=True)
class ToyOptions:
    """How toys are read and written."""

    empty: bool = True
    """Reading: read images without objects too."""

    media: Media = "reference"
    """Writing: leave the images where they are, or bring them to images/."""


class ToyFormat:
    """One JSON line for the classes, then one for each record."""

    name = "toy"
    summary = "JSON lines that hold everything"
    options: type[Any] = ToyOptions

    def traits(self, options: ToyOptions) -> Traits:
        """Nothing is lost, whatever the options."""
        del options
        return Traits()

    def sniff(self, root: Path) -> Match:
        """Look for the tag in the first bytes."""
        try:
            with (root / FILE).open("rb") as file:
                known = _TAG.encode() in file.read(100)
        except OSError:
            known = False
        if known:
            return Match(met=(f"{FILE} begins with its tag",))
        return Match(missing=(f"no {FILE} with its tag",))

    def read(self, root: Path, options: ToyOptions, context: Context) -> Reading:
        """Open a folder.

        Raises:
            DataError: If there is no such file, or its first line is wrong.
        """
        path = root / FILE
        if not path.is_file():
            raise DataError(f"there is no {FILE}.", place=root)
        with path.open("rb") as file:
            first = file.readline().removeprefix(_MARK)
        try:
            head = msgspec.json.decode(first, type=Head)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"the first line is wrong: {error}", place=path) from error
        media_root = root / "images" if head.media_root is None else Path(head.media_root)
        return Reading(media_root, self.records(path, options, context), head.taxonomy, (path,))

    def records(self, path: Path, options: ToyOptions, context: Context) -> Iterator[Record]:
        """The records of a file, line by line."""
        decoder = msgspec.json.Decoder(Record)
        with path.open("rb") as file:
            for number, line in itertools.islice(enumerate(file, 1), 1, None):
                try:
                    record = decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    context.issues.report(Issue("bad-line", str(error), str(path), number))
                    continue
                if record.objects or options.empty:
                    yield changed(record, origin=Origin(path.name, number))

    def write(
        self, dataset: Dataset, dest: Path, options: ToyOptions, context: Context
    ) -> WriteReport:
        """Write one file, and bring the images along if asked.

        Raises:
            DataError: If an image's name leads out of the folder, under the policy ``fail``.
        """
        dest.mkdir(parents=True)
        encoder = msgspec.json.Encoder()
        images = objects = 0
        with (dest / FILE).open("wb") as file:
            file.write(encoder.encode(self.head(dataset, options)) + b"\n")
            for record in dataset.records():
                if output_name(record.uri) is None:
                    message = f"{record.uri!r} cannot be the name of a file."
                    context.issues.report(Issue("unsafe-name", message, record.image_id))
                    continue
                file.write(encoder.encode(record) + b"\n")
                bring(dataset.image_path(record.uri), dest / "images", record.uri, options.media)
                images, objects = images + 1, objects + len(record.objects)
        return WriteReport((FILE,), images, objects)

    def head(self, dataset: Dataset, options: ToyOptions) -> Head:
        """The first line.

        Raises:
            UsageError: If the media root is no text.
        """
        if options.media != "reference":
            return Head(dataset.taxonomy, None)
        root = str(dataset.media_root)
        if not root.isprintable():
            raise UsageError(f"{root!r} cannot be written in JSON.")
        return Head(dataset.taxonomy, root)
