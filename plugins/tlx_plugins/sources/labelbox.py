"""Exports of Labelbox (docs.labelbox.com/reference/export-glossary), from 2018 to today."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.api import Match, Reading
from tlx.bad_input import BadInputOptions
from tlx.context import Context
from tlx.errors import DataError, UsageError
from tlx.issues import Issue
from tlx_plugins.fetching.reading import RemoteOptions

if TYPE_CHECKING:
    from tlx_plugins.sources.labelbox_images import LocalImages
    from tlx_plugins.sources.labelbox_masks import Masks


@dataclass(frozen=True)
class LabelboxOptions(BadInputOptions, RemoteOptions):
    """What to read of a Labelbox export, and how."""

    images: str | None = None
    """A folder with the images: each row is matched by its external id, its global key or the file
    name at the end of its URL, or by the URL itself in a folder that tlx fetch has made. Without
    it images stay where their URLs say. Frames of a video lie in a folder named like it, with the
    number at the end of their names, counted from 1."""

    fetch_masks: str | None = None
    """Fetch the masks that are named by addresses into this folder, as --fetch does with images,
    and make them the outlines of their objects. Without it a mask stays an address, in the
    attribute labelbox_mask_url. Labelbox wants the key of an account for them: see
    --token-variable."""

    annotations: str | None = None
    """The export file, relative to the folder that is read; by default all that lie in it."""

    project: str | None = None
    """Read the labels of one project only, by its name or id; by default all projects count."""

    consensus: Literal["first", "newest", "benchmark", "all"] = "first"
    """Which label counts where a project has several of one image: the first in the file, the one
    that was changed last, the benchmark that the others refer to (the first where there is none),
    or all of them, one beside the other. Skipped labels never count."""

    unlabelled: Literal["leave-out", "keep"] = "leave-out"
    """Rows without a label, or that were skipped: leave out, or keep as images without objects and
    with the attribute labelbox_status. A row that was labelled with nothing is a negative and is
    always kept."""

    origin: Literal["auto", "top-left", "bottom-left"] = "auto"
    """Where y starts. auto: at the bottom for exports of before October 2018, which is told by
    their shape and dates, and needs the height of the images; else at the top."""

    answers: Literal["attributes", "labels"] = "attributes"
    """Answers about a whole image become attributes of it, or image-level labels named
    question/option; free text is an attribute always. Answers about an object are its
    attributes."""

    class_names: Literal["name", "value"] = "name"
    """Call a class by its title or by the slug that Labelbox makes of it; where they differ the
    other one is in the attribute labelbox_value."""

    frames: Literal["listed", "keyframes", "filled"] = "listed"
    """Which frames of a video become images. listed: those in the file, where Labelbox has put in
    what lies between keyframes; keyframes: objects that were drawn by hand only; filled: listed
    ones, and those of a segment that are not listed, linearly between their neighbours."""


class LabelboxSource:
    """Reads a file or a folder of files: NDJSON since 2023, JSON of five generations before."""

    name = "labelbox"
    summary = "Labelbox exports: NDJSON of today, JSON of 2018 to 2022"
    options = LabelboxOptions

    def sniff(self, root: Path) -> Match:
        """Look for the keys of an export in the first 64 KB of JSON files."""
        from tlx_plugins.sources.labelbox_file import SUFFIXES, find_files

        if not root.exists():
            return Match(missing=(f"{root} does not exist",))
        if root.is_file() and root.suffix.lower() not in SUFFIXES:
            return Match(missing=(f"{root.name} is no .ndjson, .jsonl or .json",))
        files, imports = find_files(root, None)
        if files:
            names = ", ".join(path.name for path in files[:3])
            return Match(met=(f"rows of a Labelbox export in {names}",))
        if imports:
            return Match(missing=(f"{imports[0].name} is what Labelbox imports, not an export",))
        return Match(missing=("no JSON with data_row and projects, or Labeled Data and Label",))

    def read(self, root: Path, options: LabelboxOptions, context: Context) -> Reading:
        """Open a file or folder; rows are decoded while the content is iterated.

        The image id is the external id, else the global key, the data row's id, or the file name
        of the URL. Lines and points become objects without a box; masks keep their URL, unless they
        are fetched.

        Raises:
            UsageError: If a path that was named does not exist.
            DataError: If there is no export.
        """
        from tlx_plugins.sources.labelbox_file import find_files
        from tlx_plugins.sources.labelbox_reader import LabelboxReader

        if not root.exists():
            raise UsageError(f"{root} does not exist.", hint="Give a Labelbox export, or a folder.")
        base = root if root.is_dir() else root.parent
        files, imports = find_files(root, options.annotations)
        if not files:
            raise _nothing_found(root, options.annotations, imports)
        for path in imports:
            message = "passed over: it is what Labelbox imports, not an export."
            context.issues.report(Issue("other-file", message, str(path), action="kept"))
        images = None if options.images is None else _local_images(options.images, base)
        masks = None
        if options.fetch is not None or options.fetch_masks is not None:
            if images is not None and options.fetch is not None:
                raise UsageError(
                    "--images and --fetch both say where the images are.",
                    hint="Name the folder of images with --fetch alone.",
                )
            images, masks = _brought(root, files, base, images, options, context)
        reader = LabelboxReader(files, base, images, masks, options, context)
        media_root = base if images is None else images.root
        return Reading(media_root, reader.batches(), reader.maker.classes.taxonomy, tuple(files))


def _brought(
    root: Path,
    files: list[Path],
    base: Path,
    images: LocalImages | None,
    options: LabelboxOptions,
    context: Context,
) -> tuple[LocalImages | None, Masks | None]:
    """The images and masks that the user wants fetched, after they were."""
    from tlx_plugins.fetching.reading import bring
    from tlx_plugins.sources.labelbox_addresses import AddressReader
    from tlx_plugins.sources.labelbox_images import LocalImages
    from tlx_plugins.sources.labelbox_masks import Masks

    masks = None
    of_images, of_masks = AddressReader(files, base, options).listings()
    if options.fetch is not None:
        folder = Path(options.fetch).expanduser()
        if bring(of_images, root, folder, options, context):
            images = LocalImages(folder)
    if options.fetch_masks is not None:
        folder = Path(options.fetch_masks).expanduser()
        if bring(of_masks, root, folder, options, context):
            masks = Masks(folder)
    return images, masks


def _local_images(given: str, base: Path) -> LocalImages:
    from tlx_plugins.sources.labelbox_images import LocalImages

    for folder in (Path(given).expanduser(), base / given):
        if folder.is_dir():
            return LocalImages(folder)
    raise UsageError(f"the folder of images {given} does not exist.", hint="Mend --images.")


def _nothing_found(
    root: Path, annotations: str | None, imports: list[Path]
) -> DataError | UsageError:
    from tlx_plugins.sources.labelbox_file import IMPORT_HINT

    if annotations is not None and not (root / annotations).is_file() and root.is_dir():
        return UsageError(f"{root / annotations} is not a file.", hint="Mend --annotations.")
    if imports:
        return DataError("is no export of Labelbox.", place=imports[0], hint=IMPORT_HINT)
    looked = (
        "looked for rows with data_row and projects, or with Labeled Data and Label, in .ndjson, "
        ".jsonl and .json"
    )
    if root.is_file() or annotations is not None:
        place = root if annotations is None else root / annotations
        return DataError(f"is no export of Labelbox: {looked}.", place=place)
    names = sorted(entry.name for entry in root.iterdir())
    found = f"found {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}" if names else "empty"
    return DataError(
        f"holds no export of Labelbox: {looked}; {found}.",
        place=root,
        hint="Name the file itself, or the folder that holds it.",
    )
