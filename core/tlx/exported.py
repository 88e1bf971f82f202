"""An exported model: a folder that says by itself what it is.

saved/
  tlx-model.json      backend, form, classes with their numbers and thresholds, input, lineage
  ...                 what the backend wrote: saved_model/, model.onnx, ...

Whoever runs the model without tlx finds in ``tlx-model.json`` how to feed it and how to read what
it puts out; `tlx predict` finds there what it needs to treat it like the run that it comes from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from tlx.api import ExportReport
from tlx.errors import DataError
from tlx.file_names import output_name
from tlx.model import Category, Taxonomy

FILE_NAME = "tlx-model.json"
_BLOCK = 1 << 20


class ExportedClass(msgspec.Struct, frozen=True, kw_only=True):
    """One class of an exported model.

    Attributes:
        name: As in the dataset that the model was trained on.
        id: Its number in what the model puts out; None where the backend does not say.
        threshold: The score from which a detection counts, tuned on the validation split.
        color: ``#rrggbb`` for pictures.
    """

    name: str
    id: int | None = None
    threshold: float | None = None
    color: str | None = None


class ExportedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What ``tlx-model.json`` holds.

    Attributes:
        format: Always ``tlx-model``.
        version: Of this description.
        tlx: The version of tlx that exported it.
        backend: The backend that can predict from it.
        form: The form that it was written in.
        model: Name of the network.
        files: Everything that belongs to the model, relative to the folder.
        classes: In the order of the dataset's.
        input: How to feed it (`tlx.api.ExportReport`).
        output: What its outputs mean.
        lineage: The run, its checkpoint and dataset with their SHA-256.
    """

    format: Literal["tlx-model"] = "tlx-model"
    version: Literal[1] = 1
    tlx: str
    backend: str
    form: str
    model: str
    files: list[str]
    classes: list[ExportedClass]
    input: dict[str, Any]
    output: dict[str, Any]
    lineage: dict[str, Any]

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes with their colours."""
        return Taxonomy(tuple(Category(name=c.name, color=c.color) for c in self.classes))

    @property
    def thresholds(self) -> dict[str, float]:
        """The tuned thresholds; empty where none was tuned."""
        return {c.name: c.threshold for c in self.classes if c.threshold is not None}


def is_exported(folder: Path) -> bool:
    """Whether a folder was written by `tlx export`."""
    return (folder / FILE_NAME).is_file()


def read(folder: Path) -> ExportedModel:
    """What an exported model says of itself.

    Raises:
        DataError: If the description is broken or of a later tlx, or files of the model are gone.
    """
    path = folder / FILE_NAME
    try:
        model = msgspec.json.decode(path.read_bytes(), type=ExportedModel)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"does not describe a model that this tlx can read: {error}",
            place=path,
            hint="Export it again: tlx export RUN",
        ) from error
    for name in model.files:
        if output_name(name) != name:
            raise DataError(
                f"names the file {name!r}, which is not in its folder.",
                place=path,
                hint="Use models of people you trust only, and export it again: tlx export RUN",
            )
    gone = [name for name in model.files if not (folder / name).exists()]
    if gone:
        raise DataError(
            f"names {', '.join(gone)}, which is gone.",
            place=path,
            hint="Copy an exported model as a whole folder.",
        )
    return model


def write(folder: Path, model: ExportedModel) -> None:
    """Write the description into the folder of a model."""
    content = msgspec.json.format(msgspec.json.encode(model), indent=2)
    (folder / FILE_NAME).write_bytes(content + b"\n")


def classes_of(
    report: ExportReport, thresholds: Mapping[str, float], taxonomy: Taxonomy | None
) -> list[ExportedClass]:
    """The classes of an export: as the backend numbers them, or else as the dataset has them."""
    names: Iterable[str] = report.class_ids
    if not report.class_ids:
        names = thresholds if taxonomy is None else taxonomy.names
    return [
        ExportedClass(
            name=name,
            id=report.class_ids.get(name),
            threshold=thresholds.get(name),
            color=taxonomy[name].color if taxonomy is not None and name in taxonomy else None,
        )
        for name in names
    ]


def digest(folder: Path, files: Iterable[str]) -> str:
    """SHA-256 over names and bytes of a model's files, those in folders included."""
    total = hashlib.sha256()
    for path in _every_file(folder, files):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                total.update(block)
    return total.hexdigest()


def _every_file(folder: Path, files: Iterable[str]) -> Iterator[Path]:
    for name in sorted(files):
        path = folder / name
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else (path,)
