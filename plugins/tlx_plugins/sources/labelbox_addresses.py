"""The addresses that a Labelbox export names for what is read of it: images, and masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.context import Context
from tlx.issues import IssueLog
from tlx.model import Record
from tlx_plugins.fetching.exports import file_name
from tlx_plugins.fetching.lists import Address, Listing, is_web
from tlx_plugins.sources.labelbox_reader import LabelboxReader
from tlx_plugins.sources.labelbox_schema import Annotations, ExportRow, Thing

if TYPE_CHECKING:
    from tlx_plugins.sources.labelbox import LabelboxOptions


class AddressReader(LabelboxReader):
    """Goes through the rows that would be read, and makes no record of them.

    What is wrong with the rows is told when they are read.

    Attributes:
        images: Where the images are.
        masks: Where the masks are.
    """

    at_once = False

    def __init__(self, files: Sequence[Path], root: Path, options: LabelboxOptions) -> None:
        super().__init__(files, root, None, None, options, Context(issues=IssueLog("skip")))
        self.images = Listing("a Labelbox export")
        self.masks = Listing("the masks of a Labelbox export")

    def listings(self) -> tuple[Listing, Listing]:
        """Read all files; returns the addresses of images and of masks."""
        for _ in self.batches():
            pass
        return self.images, self.masks

    def _row(self, row: ExportRow, position: int) -> Iterable[Record]:
        del position
        chosen, _ = self.chooser.choose(row.projects)
        if not chosen and self.options.unlabelled != "keep":
            return ()
        known = [label.annotations for label, _ in chosen if label.annotations is not None]
        line = self.journal.line
        video = row.media_attributes is not None and row.media_attributes.is_video
        if not video and not any(said.frames for said in known):
            data = row.data_row
            if data.row_data and is_web(data.row_data):
                name = file_name(data.external_id) or file_name(data.global_key)
                self.images.addresses.append(Address(data.row_data, name, line))
            else:
                self.images.others += 1
        for said in known:
            for thing in _things(said):
                self._mask(thing, line)
        return ()

    def _mask(self, thing: Thing, line: int | None) -> None:
        mask = thing.mask or thing.composite_mask
        if mask is None or not mask.url:
            return
        if is_web(mask.url):
            name = f"{thing.feature_id}.png" if thing.mask and thing.feature_id else None
            self.masks.addresses.append(Address(mask.url, name, line))
        else:
            self.masks.others += 1


def _things(annotations: Annotations) -> Iterator[Thing]:
    yield from annotations.objects or ()
    for frame in (annotations.frames or {}).values():
        yield from (frame.objects or {}).values()
