"""Records as FiftyOne documents, the form in which its database keeps samples.

The form was read off documents that FiftyOne 1.22 writes itself, and `loading` compares one of
ours with one of its own before it trusts them. Boxes become x, y, width, height as fractions of
the image.
"""

from __future__ import annotations

import mimetypes
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from tlx.errors import DataError
from tlx.media import image_size
from tlx.model import Box, Label, Object, Record
from tlx_plugins.viewers.findings import ImageFindings, label_id
from tlx_plugins.viewers.layout import OBJECT_FIELDS, Attribute, Layout
from tlx_plugins.viewers.shapes import box_and_mask, keypoints, polylines

if TYPE_CHECKING:
    from tlx.model import AttributeValue

LABEL_FIELDS: Mapping[bool | None, str] = {
    True: "labels",
    False: "labels_absent",
    None: "labels_unsure",
}
"""The field for image-level labels of each state; only the first is shown as a tag."""


@dataclass(slots=True)
class DocumentMaker:
    """Makes the sample documents of one dataset.

    Attributes:
        layout: The fields.
        dataset_id: FiftyOne's id of its dataset.
        now: Time of loading, UTC without a zone, as MongoDB has it.
        tracks: Numbers given to tracks so far, for `Detection.index`.
        missing: Image files that were not there.
    """

    layout: Layout
    dataset_id: ObjectId
    now: datetime
    tracks: dict[tuple[str | None, str], int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def document(self, record: Record, path: str, findings: ImageFindings | None) -> dict[str, Any]:
        """The document of one image.

        Args:
            record: The image.
            path: Its file, absolute, or a URL.
            findings: Detections and verdicts; None if nothing was predicted.

        Raises:
            DataError: If the size of an image with boxes is neither stated nor to be read.
        """
        size = self._size(record, path, findings)
        document: dict[str, Any] = {
            "_id": ObjectId(label_id(record.image_id, "sample", 0)),
            "filepath": path,
            "tags": [],
            "metadata": self._metadata(path, size),
            "_media_type": "image",
            "_rand": random.Random(record.image_id).random(),  # noqa: S311 - an order, no secret
            "_dataset_id": self.dataset_id,
            "created_at": self.now,
            "last_modified_at": self.now,
            "image_id": record.image_id,
            "split": record.split,
            "objects": len(record.objects),
            "ground_truth": self._ground_truth(record, size, findings),
        }
        if self.layout.groups:
            document["group"] = record.group
        if self.layout.frames:
            document["frame"] = record.frame
        if self.layout.outlines and size is not None:
            document["outlines"] = polylines(record, size)
        if self.layout.keypoints and size is not None:
            document["keypoints"] = keypoints(record, size)
        heights = [o.box.height for o in record.objects if o.box is not None]
        document["smallest_height"] = min(heights, default=None)
        document |= _attributes(self.layout.image_attributes, record.attributes)
        for state in self.layout.labels:
            document[LABEL_FIELDS[state]] = _classifications(record, state)
        if findings is not None:
            document["predictions"] = _predictions(findings, size)
            document |= findings.numbers
        return {name: value for name, value in document.items() if value is not None}

    def _size(
        self, record: Record, path: str, findings: ImageFindings | None
    ) -> tuple[int, int] | None:
        if record.width and record.height:
            return record.width, record.height
        size = image_size(path)
        if size is None and (record.objects or (findings is not None and findings.detections)):
            raise DataError(
                f"the size of the image {record.image_id!r} is not in the dataset and cannot be "
                "read from its file.",
                place=path,
                hint="Put the image there, or make the dataset again with its images at hand.",
            )
        return size

    def _metadata(self, path: str, size: tuple[int, int] | None) -> dict[str, Any]:
        metadata: dict[str, Any] = {"_cls": "ImageMetadata"}
        try:
            metadata["size_bytes"] = Path(path).stat().st_size
        except OSError:
            self.missing.append(path)
        kind, _ = mimetypes.guess_type(path)
        if kind is not None:
            metadata["mime_type"] = kind
        if size is not None:
            metadata["width"], metadata["height"] = size
        return metadata

    def _ground_truth(
        self, record: Record, size: tuple[int, int] | None, findings: ImageFindings | None
    ) -> dict[str, Any]:
        detections = []
        for place, thing in enumerate(record.objects):
            box, mask = box_and_mask(thing)
            if box is None or size is None:
                continue
            marks = {} if findings is None else findings.object_marks.get(place, {})
            detection = _detection(
                label_id(record.image_id, "ground_truth", place), thing.category, box, size
            )
            detection |= {"object_index": place, "height_px": float(box.height)}
            if mask is not None:
                detection["mask"] = mask
            detection |= self._stated(record, thing)
            detections.append(detection | marks)
        return {"_cls": "Detections", "detections": detections}

    def _stated(self, record: Record, thing: Object) -> dict[str, Any]:
        """What the object states beside its class and box."""
        stated: dict[str, Any] = {}
        for name in self.layout.object_fields:
            value = getattr(thing, name)
            if value is not None:
                stated[OBJECT_FIELDS[name][0]] = value
        if thing.track is not None:
            key = (record.group, thing.track)
            stated["index"] = self.tracks.setdefault(key, len(self.tracks))
        return stated | _attributes(self.layout.object_attributes, thing.attributes)


def _detection(
    identity: str, category: str, box: Box, size: tuple[int, int], score: float | None = None
) -> dict[str, Any]:
    width, height = size
    detection: dict[str, Any] = {
        "_id": ObjectId(identity),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": category,
        "bounding_box": [
            box.xmin / width,
            box.ymin / height,
            box.width / width,
            box.height / height,
        ],
    }
    if score is not None:
        detection["confidence"] = score
    return detection


def _predictions(findings: ImageFindings, size: tuple[int, int] | None) -> dict[str, Any]:
    detections = []
    for found in findings.detections:
        if size is not None:
            box = Box(*found.box)
            detection = _detection(found.label_id, found.category, box, size, found.score)
            detections.append(detection | {"height_px": float(box.height)} | found.marks)
    return {"_cls": "Detections", "detections": detections}


def _attributes(
    fields: Mapping[str, Attribute], values: Mapping[str, AttributeValue]
) -> dict[str, AttributeValue]:
    return {fields[name].name: fields[name].cast(value) for name, value in values.items()}


def _classifications(record: Record, state: bool | None) -> dict[str, Any]:
    classifications = [
        _classification(label_id(record.image_id, "label", place), label)
        for place, label in enumerate(record.labels)
        if label.present is state
    ]
    return {"_cls": "Classifications", "classifications": classifications}


def _classification(identity: str, label: Label) -> dict[str, Any]:
    return {
        "_id": ObjectId(identity),
        "_cls": "Classification",
        "tags": [],
        "label": label.category,
    }
