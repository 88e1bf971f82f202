"""What is done to a dataset on its way into another format, whatever the format.

One set of choices for every writer, a plugin's too: which splits, which classes, what becomes of
images without objects, of boxes that cannot be right, of images that are stored turned. They are
applied to the dataset before the writer sees it, in this order, and everything that is left out or
changed is counted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tlx
from tlx import class_map
from tlx.bad_input import BadBoxes
from tlx.box_policy import settle_batch
from tlx.context import Context
from tlx.dataset import Dataset, Operation, write_dataset
from tlx.errors import UsageError
from tlx.issues import Issue, IssueLog

if TYPE_CHECKING:
    import pyarrow as pa

Pixels = Literal["stored", "upright"]
"""stored: labels count the pixels of the image as it is stored; upright: those of the image as its
EXIF orientation says to show it."""

_SHARE = re.compile(r"(\d{1,2}(?:\.\d+)?)\s*%")


@dataclass(frozen=True)
class Policies:
    """The choices; by default nothing is changed."""

    splits: str | None = None
    """Write only these splits, such as train,val."""

    class_map: str | None = None
    """Rename, merge or leave out classes, such as "stop=light,go=light,off="."""

    bad_boxes: BadBoxes | None = None
    """What to do with a box that is empty, inverted or leaves the image by more than a pixel, while
    it is read or in a dataset. keep: kept and noted; clip: cut to the image, and dropped where
    nothing is left; drop: left out; fail: a bad record (see --on-error). By default it is left to
    the reader and the writer. Whatever is done is counted."""

    pixels: Pixels = "stored"
    """Labels count the pixels of images as they are stored, or those of upright images, turned by
    their EXIF orientation, for programs that turn images when they open them. The images stay as
    they are."""

    background: str = "keep"
    """What to do with images without objects and without a label that is present: keep; drop; a
    number, how many of them are written; or a share such as 10%, which part they are of all images
    that are written. Which ones is decided by the seed and their ids."""

    seed: int = 0
    """Decides which images without objects are written."""

    @property
    def idle(self) -> bool:
        """Nothing is changed."""
        return not self.plain()

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that are written; none for all."""
        parts = (part.strip() for part in (self.splits or "").split(","))
        return tuple(part for part in parts if part)

    @property
    def renames(self) -> dict[str, str]:
        """Old name to new name of classes; an empty new name leaves the class out."""
        return class_map.parse(self.class_map)

    def plain(self) -> dict[str, Any]:
        """The choices that change something, as plain values."""
        chosen = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        return {} if chosen.keys() == {"seed"} else chosen


def apply(dataset: Dataset, policies: Policies, dest: Path, context: Context) -> Dataset:
    """Write the dataset as the policies want it.

    Args:
        dataset: What is there; it is not touched.
        policies: The choices.
        dest: Where the new dataset goes.
        context: Progress, and issues: each policy that changes something reports how much.

    Raises:
        UsageError: For a split or class that the dataset does not have, an odd ``background``, or
            when nothing is left.
        DataError: For a bad box, under the policy ``report``.
    """
    for split in policies.split_names:
        dataset.require_split(split)
    class_map.require_known(policies.renames, dataset.taxonomy)
    work = _Work(dataset, policies, context)
    if policies.background != "keep":
        work.choose()
    operation = Operation(name="convert", version=tlx.__version__, options=policies.plain())
    result = write_dataset(
        dest,
        work.batches(),
        class_map.mapped_taxonomy(dataset.taxonomy, policies.renames),
        dataset.media_root,
        (*dataset.manifest.lineage, operation),
    )
    work.report()
    if not len(result):
        raise UsageError(
            f"nothing is left of the {len(dataset):,} images after {', '.join(policies.plain())}.",
            hint="Choose other --splits or --background.",
        )
    return result


def most_backgrounds(text: str, others: int) -> int:
    """How many images without objects are kept beside a number of other images.

    Args:
        text: ``drop``, a number, or a share of all such as ``10%``.
        others: How many images have objects or labels.

    Raises:
        UsageError: If the text is none of these.
    """
    if text == "drop":
        return 0
    if text.isascii() and text.isdigit():
        return int(text)
    share = _SHARE.fullmatch(text)
    if share is None:
        raise UsageError(
            f"--background cannot be {text!r}.",
            hint="Write keep, drop, a number such as 500, or a share such as 10%.",
        )
    part = float(share[1]) / 100
    return round(others * part / (1 - part))


class _Work:
    """One pass, or two, over a dataset."""

    def __init__(self, dataset: Dataset, policies: Policies, context: Context) -> None:
        self.dataset = dataset
        self.policies = policies
        self.context = context
        self.splits = policies.split_names
        self.renames = policies.renames
        self.chosen: frozenset[bytes] | None = None
        """Keys of the backgrounds that stay; None for all."""
        self.counts: dict[str, int] = {}

    def choose(self) -> None:
        """Decide which backgrounds stay: those with the least keys, once all images are counted."""
        import pyarrow.compute as pc

        most_backgrounds(self.policies.background, 0)
        keys: list[bytes] = []
        others = 0
        silent = Context(issues=IssueLog("skip"))
        shadow = _Work(self.dataset, self.policies, silent)
        for batch in shadow.batches():
            empty = _backgrounds(batch)
            ids = batch.column("image_id").filter(empty).to_pylist()
            keys += map(self._key, ids)
            others += batch.num_rows - int(pc.sum(empty).as_py() or 0)
        self.chosen = frozenset(sorted(keys)[: most_backgrounds(self.policies.background, others)])

    def _key(self, image_id: str) -> bytes:
        seed = self.policies.seed.to_bytes(8, signed=True)
        return hashlib.blake2b(image_id.encode(), digest_size=12, key=seed).digest()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches as the policies want them."""
        for batch in self.context.progress.track(
            self.dataset.batches(), "applying policies", len(self.dataset.manifest.parts)
        ):
            changed = self._changed(batch)
            if changed.num_rows:
                yield changed

    def _changed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa
        import pyarrow.compute as pc

        from tlx.columns import relabelled

        if self.splits:
            wanted = pc.is_in(batch.column("split"), pa.array(self.splits))
            self._add("other-split", batch.num_rows - int(pc.sum(wanted).as_py() or 0))
            batch = batch.filter(wanted)
        if self.renames:
            before = _number_of_objects(batch)
            batch = relabelled(batch, self.renames)
            self._add("left-out-class", before - _number_of_objects(batch))
        if self.policies.bad_boxes is not None:
            batch = settle_batch(batch, self.policies.bad_boxes, self._report)
        if self.policies.pixels == "upright":
            batch = self._upright(batch)
        if self.chosen is not None:
            ids = batch.column("image_id").to_pylist()
            empty = _backgrounds(batch).to_pylist()
            wanted = pa.array(
                [not e or self._key(i) in self.chosen for e, i in zip(empty, ids, strict=True)],
                pa.bool_(),
            )
            self._add("background", batch.num_rows - int(pc.sum(wanted).as_py() or 0))
            batch = batch.filter(wanted)
        return batch

    def _upright(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Let the labels of images that are stored turned count the upright pixels."""
        from tlx.media import ImageHeader, image_header
        from tlx.orientation import upright
        from tlx.schema import batch_to_records, records_to_batch

        uris = batch.column("uri").to_pylist()
        headers: list[ImageHeader | None] = [
            None if "://" in uri else image_header(self.dataset.image_path(uri)) for uri in uris
        ]
        if all(header is None or header.orientation == 1 for header in headers):
            return batch
        records = list(batch_to_records(batch))
        for row, header in enumerate(headers):
            if header is None or header.orientation == 1:
                continue
            record = records[row]
            if (record.width, record.height) not in {header.size, (None, None)}:
                message = (
                    "is turned by its EXIF orientation, and its labels count another size than "
                    "the stored one; they are left as they are."
                )
                issue = Issue("turned-already", message, record.uri, None, "kept")
                self.context.issues.report(issue)
                continue
            records[row] = upright(record, header)
            self._add("turned-labels", 1)
        return records_to_batch(records)

    def _add(self, code: str, number: int) -> None:
        self.counts[code] = self.counts.get(code, 0) + number

    def _report(self, code: str, message: str, action: str, hint: str) -> None:
        self.context.issues.report(Issue(code, message, None, None, action, hint))

    def report(self) -> None:
        """Say how much each policy left out or changed."""
        for code, number in self.counts.items():
            if number:
                message = f"{number:,} {_SUMS[code]}"
                self.context.issues.report(Issue(code, message, None, None, "requested"))


_SUMS = {
    "other-split": "images of other splits are left out (--splits).",
    "left-out-class": "objects of classes that the map leaves out (--class-map).",
    "background": "images without objects are left out (--background).",
    "turned-labels": "images are stored turned: their labels count the upright pixels (--pixels).",
}


def _number_of_objects(batch: pa.RecordBatch) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.list_value_length(batch.column("objects"))).as_py() or 0)


def _backgrounds(batch: pa.RecordBatch) -> Any:
    """Which images have neither an object nor a label that is present."""
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = batch.column("labels")
    present = pc.fill_null(pc.struct_field(pc.list_flatten(labels), "present"), False)
    rows = pc.list_parent_indices(labels).filter(present)
    labelled = pc.is_in(pa.array(range(batch.num_rows), rows.type), rows)
    empty = pc.equal(pc.list_value_length(batch.column("objects")), 0)
    return pc.and_(empty, pc.invert(labelled))
