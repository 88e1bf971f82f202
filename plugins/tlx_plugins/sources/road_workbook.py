"""Workbooks of Excel (ECMA-376), as road surveys are often kept in; only their cells are read."""

from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

from tlx.errors import DataError, MissingExtra
from tlx_plugins import safe_zip
from tlx_plugins.formats.csv_text import Row

_GLANCE = 1 << 16
_TEXT = re.compile(r"<t(?:\s[^>]*)?>([^<]*)</t>")
_WIDEST = 1000
_LONGEST = 1_100_000
"""Rows of a sheet: Excel itself ends at 1,048,576."""


def read_rows(path: Path) -> list[Row]:
    """The rows of the first sheet that holds any, as the text of their cells.

    Formulas give the value that was stored with them.

    Raises:
        MissingExtra: Without openpyxl.
        DataError: If it is no workbook, or a hostile one.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtra("a workbook (.xlsx)", "xlsx") from error
    _check(path)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            for sheet in book.worksheets:
                # What the file says of its size may be wrong by a million empty rows.
                sheet.reset_dimensions()
                cells = sheet.iter_rows(max_col=_WIDEST, max_row=_LONGEST, values_only=True)
                rows = [
                    Row(number, [_text(value) for value in values])
                    for number, values in enumerate(cells, start=1)
                    if any(value is not None for value in values)
                ]
                if rows:
                    return rows
        finally:
            book.close()
    except DataError:
        raise
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise DataError(
            f"is no workbook that can be read: {reason[:120]}.",
            place=path,
            hint="Save it as CSV and give that.",
        ) from error
    return []


def _check(path: Path) -> None:
    """Refuse a zip bomb before anything is unpacked."""
    with safe_zip.opened(path) as archive:
        for _, info in safe_zip.members(archive):
            safe_zip.open_member(archive, info).close()


def words(path: Path) -> list[str]:
    """The first words of a workbook, without any library: enough to tell what it is about.

    Raises:
        DataError: If it is no workbook.
    """
    found: list[str] = []
    with safe_zip.opened(path) as archive:
        names = dict(safe_zip.members(archive))
        # Texts lie together in a part of their own, or in the cells themselves.
        for name in ("xl/sharedStrings.xml", "xl/worksheets/sheet1.xml"):
            info = names.get(name)
            if info is None:
                continue
            with safe_zip.open_member(archive, info) as stream:
                head = stream.read(_GLANCE).decode("utf-8", "replace")
            found += _TEXT.findall(head)
    return found[:400]


def _text(value: Any) -> str:
    """A cell as a table of text would have it: whole numbers without a fraction."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value).strip()
