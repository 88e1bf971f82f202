"""The addresses that labelled data name: exports of tools, and datasets of tlx."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlx import host, pipeline
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import DataError
from tlx.issues import IssueLog
from tlx.model import Record
from tlx_plugins.fetching.lists import Address, Listing, is_web, read_table, read_text
from tlx_plugins.fetching.naming import split_suffix

if TYPE_CHECKING:
    from tlx_plugins.formats.coco_file import AnnotationFile, CocoImage

_TABLES = (".csv", ".tsv")


def read_input(
    path: Path, encoding: str | None, column: str | None, name_column: str | None
) -> Listing:
    """The addresses of anything that names some.

    A ``.txt`` has one per line, a ``.csv`` or ``.tsv`` a column of them. Everything else is a
    dataset of tlx, or what one of the sources recognises; its labels are not looked at.

    Raises:
        UsageError: If nothing recognises the path.
        DataError: If it holds no address.
    """
    suffix = path.suffix.lower()
    if path.is_file() and suffix == ".txt":
        listing = read_text(path, encoding)
    elif path.is_file() and suffix in _TABLES:
        listing = read_table(path, encoding, column, name_column)
    elif (path / "manifest.json").is_file():
        dataset = Dataset.open(path)
        listing = _of_records(dataset.records(), "a dataset")
    else:
        listing = _export(path)
    require_addresses(listing, path)
    return listing


def require_addresses(listing: Listing, path: Path) -> None:
    """Refuse what names nothing that can be fetched.

    Raises:
        DataError: Says what it is instead.
    """
    if not listing.addresses:
        raise DataError(
            f"names no address: it is {listing.kind} with {listing.others} entries that are none.",
            place=path,
            hint="Only images that are named by http or https addresses can be fetched.",
        )


def _export(path: Path) -> Listing:
    name = pipeline.detect(path)
    if name == "coco":
        return _coco(path)
    if name == "labelbox":
        return _labelbox(path)
    entry = host.installed().entry("source", name)
    # Whatever is wrong with labels is told when they are read; here only addresses count.
    context = Context(issues=IssueLog("skip"), dry_run=True)
    with host.guard(entry):
        reading = entry.value.read(path, entry.value.options(), context)
        return _of_records(_records(reading.content), f"what {name} reads")


def _records(content: object) -> Iterator[Record]:
    from tlx.dataset import to_batches
    from tlx.schema import batch_to_records

    for batch in to_batches(content):  # type: ignore[arg-type]
        yield from batch_to_records(batch)


def _of_records(records: Iterator[Record], kind: str) -> Listing:
    listing = Listing(kind)
    for record in records:
        if is_web(record.uri):
            name = record.image_id if record.image_id != record.uri else None
            line = record.origin.line if record.origin else None
            listing.addresses.append(Address(record.uri, file_name(name), line))
        else:
            listing.others += 1
    return listing


def file_name(name: str | None) -> str | None:
    """A name that readers find an image by again; others only would make odd files."""
    return name if name and not is_web(name) and split_suffix(name)[1] else None


def _coco(path: Path) -> Listing:
    from tlx_plugins.formats.coco_file import find_files

    return of_coco(find_files(path, None)[0])


def of_coco(files: Sequence[AnnotationFile]) -> Listing:
    """The addresses of COCO files."""
    from tlx_plugins.formats.coco_file import load

    listing = Listing("COCO")
    for file in files:
        for image in load(file.path)[0].images:
            name = image.file_name or ""
            url = address_of(image)
            if url is not None:
                listing.addresses.append(Address(url, file_name(name)))
            else:
                listing.others += 1
    return listing


def address_of(image: CocoImage) -> str | None:
    """``file_name`` may be an address itself, ``coco_url`` stands beside a real name."""
    name = image.file_name or ""
    url = name if is_web(name) else str(image.coco_url or "")
    return url if is_web(url) else None


def _labelbox(path: Path) -> Listing:
    """Labelbox: every data row that is an address, labelled or not."""
    from tlx_plugins.sources import labelbox_file, labelbox_legacy
    from tlx_plugins.sources.labelbox_file import BadRow
    from tlx_plugins.sources.labelbox_schema import ExportRow

    listing = Listing("a Labelbox export")
    for file in labelbox_file.find_files(path, None)[0]:
        stream = labelbox_file.kind_of(file) == "stream"
        for row in labelbox_file.stream(file) if stream else labelbox_file.Text(file).rows():
            if isinstance(row, BadRow):
                listing.others += 1
                continue
            value, _, line = row
            data = value.data_row if isinstance(value, ExportRow) else None
            if data is None and isinstance(value, dict) and labelbox_legacy.is_row(value):
                data = labelbox_legacy.data_row(value)
            if data is None or not data.row_data or not is_web(data.row_data):
                listing.others += 1
                continue
            name = file_name(data.external_id) or file_name(data.global_key)
            listing.addresses.append(Address(data.row_data, name, line))
    return listing
