"""The DriveU traffic light dataset (Fregin et al. 2018), versions 1.0 and 2.0, as a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlx.api import Match, Reading
from tlx.bad_input import BadInputOptions
from tlx.context import Context
from tlx.errors import DataError, UsageError, nearest
from tlx.issues import Issue


@dataclass(frozen=True)
class DriveuOptions(BadInputOptions):
    """What to read of the DriveU traffic light dataset, and how."""

    labels: str | None = None
    """The label file, relative to the folder that is read; by default all that lie in it, where a
    frame that several list is read once, and version 2.0 (JSON) goes before 1.0 (YAML)."""

    images: str | None = None
    """The folder that holds the folders of the cities, absolute or relative to the folder that is
    read; by default it is looked for in, above and beside that. A .png or .jpg of the same name is
    taken in place of a .tiff."""

    proxies: str | None = None
    """A folder for 8-bit copies of the images, absolute or relative to the working directory: the
    16-bit Bayer TIFF become PNG that look right in any program, and the dataset points to them.
    Copies that are there are kept, so a second run is quick. tlx itself does not need them: it
    decodes the TIFF in training, prediction, drawing and viewing."""

    classes: Literal["state", "state+pictogram", "full"] = "state"
    """What tells classes apart. state: red, green, ...; state+pictogram: red-arrow_left, ...; full:
    direction, orientation, number of lamps, state and pictogram. Whatever is not part of the
    class is an attribute of the object."""

    relevance: Literal["all", "relevant", "not_relevant"] = "all"
    """Keep lights of this relevance only; unknown ones (occluded, in version 1.0) are neither."""

    direction: Literal["all", "front", "back", "left", "right"] = "all"
    """Keep lights that face in this direction only."""

    reflections: Literal["keep", "drop"] = "keep"
    """Lights seen in a window or another car, which version 2.0 marks."""

    unknown_states: Literal["keep", "drop"] = "keep"
    """Lights whose state nobody could see: keep as the class unknown, or leave out."""

    image_sizes: bool = True
    """Read width and height from the header of each image; else they are the documented ones."""


class DriveuSource:
    """Reads a label file, or a folder with label files; see `tlx_plugins.sources.driveu_layout`."""

    name = "driveu"
    summary = "DriveU traffic lights (DTLD): labels of version 1.0 (YAML) and 2.0 (JSON)"
    options = DriveuOptions

    def sniff(self, root: Path) -> Match:
        """Look for the names and keys of label files, three folders deep."""
        from tlx_plugins.sources.driveu_layout import find_labels, is_labels

        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        found = [path for path in find_labels(root) if is_labels(path)]
        if not found:
            return Match(missing=("no DTLD_*.json, DTLD_*.yml or <City>.json with DriveU's keys",))
        return Match(met=(f"DriveU labels in {', '.join(path.name for path in found[:3])}",))

    def read(self, root: Path, options: DriveuOptions, context: Context) -> Reading:
        """Index the label files; the lights of a frame are decoded while the content is iterated.

        The image id is ``City/Route/Sequence/file`` as the labels name it, the group is the
        sequence (one drive past one intersection), the frame its position by time stamp.

        Raises:
            UsageError: If a path that was named does not exist.
            DataError: If there is no label file, or a file is not what its name says.
        """
        from tlx_plugins.sources.driveu_reader import DriveuReader

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give the DTLD folder or label file.")
        base = root if root.is_dir() else root.parent
        files = _label_files(root, options.labels, context)
        if options.images is not None and not (base / Path(options.images).expanduser()).is_dir():
            raise UsageError(
                f"the folder of images {options.images} does not exist.", hint="Mend --images."
            )
        reader = DriveuReader(files, base, options, context)
        return Reading(reader.media_root, reader.records(), reader.classes.taxonomy, tuple(files))


def _label_files(root: Path, labels: str | None, context: Context) -> list[Path]:
    """The label files to read, all of one version."""
    from tlx_plugins.sources.driveu_layout import find_labels, version_of

    if labels is not None:
        file = root / labels if root.is_dir() else root.parent / labels
        if not file.is_file():
            known = [str(path.relative_to(root)) for path in find_labels(root) if root.is_dir()]
            raise UsageError(f"there is no label file {labels}.", hint=nearest(labels, known))
        root = file
    if root.is_file() and version_of(root) is None:
        raise DataError(
            "is no label file: those end in .json (version 2.0), .yml or .yaml (version 1.0).",
            place=root,
        )
    files = find_labels(root)
    if not files:
        names = sorted(entry.name for entry in root.iterdir())[:3]
        raise DataError(
            "has no DriveU labels: looked for DTLD_all.json, DTLD_train.yml, <City>.json and "
            f"their like, three folders deep, and found {', '.join(names) or 'nothing'}.",
            place=root,
            hint="Give the folder that holds DTLD_labels, or a label file.",
        )
    newest = [path for path in files if version_of(path) == "json"]
    if newest and len(newest) < len(files):
        message = "is of version 1.0 and passed over: version 2.0 lists the same images."
        hint = "Read it with --labels FILE"
        for path in files:
            if path not in newest:
                context.issues.report(
                    Issue("other-version", message, str(path), None, "kept", hint)
                )
    return newest or files
