"""What became of each entry of a list, as a table for people or as JSON for scripts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tlx.fetched import identity_of
from tlx.staging import OutputExists, staged
from tlx_plugins.fetching.ledger import Ledger
from tlx_plugins.fetching.transfer import Wanted


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the list.

    Attributes:
        line: Line in the list, from 1.
        url: The address.
        status: ``fetched`` now, ``present`` from an earlier run, ``failed``, or ``left``.
        reason: One word for why it failed.
        detail: The same in a sentence.
        file: Path below the folder.
        bytes: Size of the file.
        width: Pixels.
        height: Pixels.
        kind: What the file is.
        http_status: Of the last answer.
        attempts: Requests.
        note: What is odd about an image that is there.
    """

    line: int | None
    url: str
    status: str
    reason: str | None = None
    detail: str | None = None
    file: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    kind: str | None = None
    http_status: int | None = None
    attempts: int = 0
    note: str | None = None


def line_of(wanted: Wanted, ledger: Ledger) -> Line:
    """The line of an entry, from what the ledger knows of its address.

    Args:
        wanted: The entry.
        ledger: All that is known, and what this run has settled.
    """
    key = identity_of(wanted.url)
    entry = ledger.known.get(key)
    fresh = key in ledger.settled
    if entry is None or not (fresh or ledger.present(wanted.url)):
        return Line(line=wanted.line, url=wanted.url, status="left")
    facts = msgspec.structs.asdict(entry) | {"url": wanted.url}
    if entry.status == "fetched" and not fresh:
        facts["status"] = "present"
    return Line(line=wanted.line, **facts)


def check_report(path: Path) -> None:
    """Refuse to write over anything but an earlier report.

    Raises:
        OutputExists: If something else lies there.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputExists(path) from error
    if not head.startswith((b"line,url,status,", b'[\n {\n  "line":')):
        raise OutputExists(path)


def write_report(path: Path, lines: Sequence[Line]) -> None:
    """Write the report whole or not at all; ``.json`` is a list, everything else a table."""
    with staged(path, overwrite=True) as target:
        if path.suffix.lower() == ".json":
            text = msgspec.json.format(msgspec.json.encode(lines), indent=1)
            target.write_bytes(text + b"\n")
            return
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(Line.__struct_fields__)
            writer.writerows(msgspec.structs.astuple(line) for line in lines)
