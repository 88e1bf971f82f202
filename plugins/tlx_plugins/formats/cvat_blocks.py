"""A CVAT file from its beginning to its end: blocks where it is regular, events where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from tlx.errors import DataError
from tlx_plugins.formats.cvat_cut import Cutter
from tlx_plugins.formats.cvat_lines import Layout, lay_out
from tlx_plugins.formats.cvat_xml import Event, Parser


class BlockReader:
    """Reads one file; use it once.

    Args:
        stream: The bytes of the file.
        place: The file's name for messages.
    """

    def __init__(self, stream: BinaryIO, place: str) -> None:
        self.place = place
        self.tracks = 0
        """How many tracks there were so far; whoever reads a block counts on."""
        self._cutter = Cutter(stream)
        self._cut = True

    def parts(self) -> Iterator[Event | Layout]:
        """The events and blocks of the file, in its order.

        The caller may read a block as columns, or `parsed`, or leave its end alone with `stop`.

        Raises:
            DataError: As of `tlx_plugins.formats.cvat_xml.Parser.run`.
        """
        cutter = self._cutter
        found = self._head()
        if found is None:
            yield from Parser(self.place).run(cutter)
            return
        yield from found
        yield from self._blocks()
        yield from Parser(self.place, cutter.line, cutter.offset, self.tracks).run(cutter)

    def _head(self) -> list[Event] | None:
        """What stands before the first block; None, with nothing read, where no block comes."""
        head = self._cutter.head()
        if head is None:
            return None
        parser = Parser(self.place)
        try:
            found = parser.part(head)
        except DataError:
            self._cutter.back(head, 1, 0)
            return None
        self.tracks = parser.tracks
        return found

    def parsed(self, layout: Layout, piece: int) -> list[Event] | None:
        """The events of one piece of a block; None if it does not end where it seems to."""
        line = layout.block.line + int(layout.begins[piece])
        parser = Parser(self.place, line, 0, self.tracks)
        try:
            found = parser.part(layout.bytes_of(piece))
        except DataError:
            return None
        self.tracks = parser.tracks
        return found

    def stop(self, layout: Layout, line: int) -> None:
        """Leave what begins with a line of the last block to the parser, as all that follows."""
        self._give_back(layout, line)
        self._cut = False

    def _blocks(self) -> Iterator[Layout]:
        while self._cut and (block := self._cutter.block()) is not None:
            layout = lay_out(block)
            if not layout.regular:
                self.stop(layout, 0)
                return
            yield layout
            if self._cut and layout.regular < len(layout.lines):
                # Another block may begin there, of tracks after images, say.
                self._give_back(layout, layout.regular)

    def _give_back(self, layout: Layout, line: int) -> None:
        block, place = layout.block, int(layout.offsets[line])
        self._cutter.back(block.data[place:], block.line + line, block.offset + place)
