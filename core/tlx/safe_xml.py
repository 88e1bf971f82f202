"""XML from strangers: no entities, no network, bounded in size, and errors that name the line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.errors import DataError, Place, UsageError

if TYPE_CHECKING:
    from lxml.etree import XMLParser, _Element

MAXIMUM_BYTES = 64 << 20
"""A document that is held in memory as a whole is not larger than this."""


class SafeParser:
    """Parses small documents as a whole; make one for many files.

    Entities are not expanded, external ones are not fetched, and a document that declares any is
    refused: no label file needs them. Empty lines before the root or the declaration are passed
    over, because tools write them.

    Args:
        encoding: Overrules what the documents say of their encoding.

    Raises:
        UsageError: For an unknown encoding.
    """

    def __init__(self, encoding: str | None = None) -> None:
        from lxml import etree

        self._etree = etree
        self.encoding = encoding
        try:
            self._parser: XMLParser = etree.XMLParser(
                encoding=encoding,
                resolve_entities=False,
                no_network=True,
                load_dtd=False,
                dtd_validation=False,
                huge_tree=False,
                recover=False,
                remove_comments=True,
                remove_pis=True,
            )
        except LookupError as error:
            raise UsageError(f"{encoding!r} is no encoding.", hint="Try: utf-8, cp1252") from error

    def parse(self, data: bytes, name: Path | str) -> _Element:
        """Parse a document; elements keep their line in ``sourceline``.

        Args:
            data: The bytes of the file.
            name: The file, as the user knows it, for messages.

        Raises:
            DataError: Names the line.
        """
        if len(data) > MAXIMUM_BYTES:
            raise DataError(f"is {len(data) >> 20} MB large; refused.", place=str(name))
        text = data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
        try:
            root = self._etree.fromstring(text, self._parser)
        except self._etree.XMLSyntaxError as error:
            lead = data[: len(data) - len(text)].count(b"\n")
            line = (error.lineno or 1) + lead
            raise DataError(
                f"is not well-formed XML: {str(error.msg).partition(', line ')[0]}.",
                place=Place(str(name), line),
                hint=_hint(text, str(error.msg)),
            ) from error
        dtd: Any = root.getroottree().docinfo.internalDTD
        if dtd is not None and any(True for _ in dtd.iterentities()):
            raise DataError("declares XML entities; refused for safety.", place=str(name))
        return root


def line_of(element: _Element) -> int | None:
    """The line on which an element begins, counted from 1."""
    line = element.sourceline
    return line if isinstance(line, int) else None


def _hint(text: bytes, message: str) -> str:
    if not text:
        return "The file is empty."
    if "UTF-8" in message or "encoding" in message or "invalid bytes" in message.lower():
        return "Save it as UTF-8, or name its encoding, such as: --encoding cp1252"
    return "The file is cut off or was edited by hand; take it from its source again."
