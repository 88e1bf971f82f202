"""The elements of a CVAT XML 1.1 file, one after the other, in bounded memory.

Expat calls back while the bytes stream through, so no tree is ever built: memory holds one image,
or one shape of a track, whatever the size of the file. Nothing outside the file is read, and a
file that declares entities is refused (CVAT writes none; they are how XML bombs are made).

Source of the format: CVAT's manual, "XML annotation format", and
``cvat/apps/dataset_manager/formats/cvat.py`` (cvat-ai/cvat, MIT).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol
from xml.parsers import expat

import msgspec

from tlx.errors import DataError, Place

SHAPES = frozenset(
    {"box", "polygon", "polyline", "points", "ellipse", "cuboid", "skeleton", "mask", "tag"}
)
_CHUNK = 1 << 16
_LARGEST_PIECE = 64 << 20
"""Bytes of XML that one image, or one shape of a track, may take."""


@dataclass(slots=True)
class Node:
    """An element of ``<meta>``, which is small enough for a tree."""

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def child(self, name: str) -> Node | None:
        """The first child of a name."""
        return next((node for node in self.children if node.name == name), None)

    def value(self, name: str) -> str | None:
        """The text of the first child of a name; None if there is none or it is empty."""
        node = self.child(name)
        return (node.text.strip() or None) if node is not None else None


class Drawn(msgspec.Struct, gc=False):
    """A shape or tag as it is written: attributes of the element, and its children."""

    kind: str
    values: dict[str, str]
    line: int
    attributes: list[tuple[str, str]] | None = None
    elements: list[Drawn] | None = None


@dataclass(slots=True)
class Image:
    """An ``<image>`` with everything in it."""

    values: dict[str, str]
    line: int
    shapes: list[Drawn] = field(default_factory=list)


@dataclass(slots=True)
class Track:
    """The start of a ``<track>``; its shapes follow one by one.

    Attributes:
        values: Attributes of the element.
        line: Line in the file.
        number: Position among the tracks of the file, nested ones counted too.
        parent: The track of the skeleton that this one is a point of.
    """

    values: dict[str, str]
    line: int
    number: int
    parent: Track | None = None


@dataclass(slots=True)
class TrackShape:
    """One shape of a track."""

    track: Track
    shape: Drawn


@dataclass(slots=True)
class TrackEnd:
    """The end of a ``<track>``."""

    track: Track


@dataclass(slots=True)
class Unknown:
    """An element that has no meaning where it stands."""

    name: str
    line: int


Event = Node | Image | Track | TrackShape | TrackEnd | Unknown


class Stream(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most that many bytes; none at the end."""
        ...


class Parser:
    """Reads a file, or a part of one that begins between two images or tracks; use it once.

    Args:
        place: The file's name for messages.
        line: Number of the line that the part begins with; 0 for a file from its beginning.
        offset: Place of its first byte in the file.
        tracks: How many tracks stand before it.

    Attributes:
        tracks: How many tracks there were so far.
    """

    def __init__(self, place: str, line: int = 0, offset: int = 0, tracks: int = 0) -> None:
        self.place = place
        self.offset = offset
        self.done: list[Event] = []
        self.depth = 0
        self.ignored = 0
        """Depth of the element that is passed over with all that is in it; 0 for none."""
        self.nodes: list[Node] = []
        self.image: Image | None = None
        self.track: Track | None = None
        self.tracks = tracks
        self.shape: Drawn | None = None
        self.skeleton: Drawn | None = None
        self.attribute: str | None = None
        self.text: list[str] = []
        self.take = self.text.append
        self.expat = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.EntityDeclHandler = self._refuse_entity
        self.lines = 0
        """Lines of the file before the first one that is parsed."""
        if line:
            parser.Parse(b"<annotations>\n", False)
            self.lines = line - 2

    def part(self, data: bytes) -> list[Event]:
        """What a part of a file holds that ends between two images or tracks.

        Raises:
            DataError: As of `run`, or because it does not end there.
        """
        if len(data) > _LARGEST_PIECE:
            raise self._too_large()
        self._feed(data)
        self._feed(b"</annotations>")
        self._feed(b"")
        return self.done

    def run(self, stream: Stream) -> Iterator[Event]:
        """What the stream holds, in its order; the ``<meta>`` element comes as a `Node`.

        Raises:
            DataError: If it is no XML, is cut off, declares entities, has another root than
                ``<annotations>``, or holds a piece that is too large for any image.
        """
        # A part is read in the chunks that the whole file would be read in.
        ahead = -self.offset % _CHUNK
        since = -ahead
        while True:
            chunk = stream.read(ahead or _CHUNK)
            try:
                self._feed(chunk)
            except DataError:
                # What stands before the break is whole.
                yield from self.done
                raise
            since = 0 if self.done else since + len(chunk)
            ahead = 0
            yield from self.done
            self.done.clear()
            if not chunk:
                return
            if since > _LARGEST_PIECE:
                raise self._too_large()

    def _too_large(self) -> DataError:
        return DataError(
            f"goes on for more than {_LARGEST_PIECE >> 20} MiB within one element.",
            place=self._here(),
            hint="This is no CVAT export; nothing that large can be in one image.",
        )

    def _feed(self, chunk: bytes) -> None:
        # Thousands of values without a cycle are made here; the collector would walk them again
        # and again, which costs a quarter of the time.
        collects = gc.isenabled()
        gc.disable()
        try:
            self.expat.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            raise DataError(
                f"is not well-formed XML: {expat.errors.messages.get(error.code, 'broken')} "
                f"(column {error.offset + 1}).",
                place=Place(self.place, error.lineno + self.lines),
                hint="Export it again from CVAT, or keep what stands before: --on-error skip",
            ) from error
        except (LookupError, ValueError) as error:
            # An encoding that Python does not know, or that expat cannot use.
            raise DataError(
                f"has an encoding that cannot be read: {error}.",
                place=self._here(),
                hint="Save it as UTF-8.",
            ) from error
        finally:
            if collects:
                gc.enable()

    def _here(self) -> Place:
        return Place(self.place, self._line())

    def _line(self) -> int:
        return self.expat.CurrentLineNumber + self.lines

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise DataError(
            f"declares the entity {name!r}; a CVAT file has none, and they can be an attack.",
            place=self._here(),
            hint="Export the file again from CVAT.",
        )

    def _start(self, name: str, values: dict[str, str]) -> None:
        # Called for every element of the file: what is frequent comes first.
        self.depth += 1
        if self.ignored:
            return
        if self.attribute is not None:
            self._pass_over(name)
        elif name == "attribute" and self.shape is not None:
            self.attribute = values.get("name", "")
            self.expat.CharacterDataHandler = self.take
        elif name in SHAPES and (self.image is not None or self.track is not None):
            if self.shape is None and self.image is not None and name != "skeleton":
                self.shape = Drawn(name, values, self._line())
                self.image.shapes.append(self.shape)
            else:
                self._start_shape(name, values)
        elif self.nodes:
            self._start_node(name)
        elif self.shape is not None:
            self._pass_over(name)
        elif name == "image" and self.depth == 2:
            self.image = Image(values, self._line())
        elif name == "track" and (self.depth == 2 or self._in_track()):
            line = self._line()
            self.track = Track(values, line, self.tracks, self.track)
            self.tracks += 1
            self.done.append(self.track)
        else:
            self._start_other(name)

    def _start_other(self, name: str) -> None:
        if name == "meta" and self.depth == 2:
            self._start_node(name)
        elif self.depth == 1:
            if name != "annotations":
                raise DataError(
                    f"is XML with the root <{name}>, not <annotations>.",
                    place=self._here(),
                    hint="Pascal VOC files begin with <annotation>: tlx ingest voc"
                    if name == "annotation"
                    else "Give a CVAT XML 1.1 file.",
                )
        elif self.depth != 2 or name not in {"version", "dumped"}:
            self._pass_over(name)

    def _in_track(self) -> bool:
        return self.track is not None and self.track.parent is None

    def _start_shape(self, name: str, values: dict[str, str]) -> None:
        shape = Drawn(name, values, self._line())
        if self.skeleton is not None:
            if name == "skeleton" or self.shape is not self.skeleton:
                self._pass_over(name)
                return
            if self.skeleton.elements is None:
                self.skeleton.elements = []
            self.skeleton.elements.append(shape)
        elif self.shape is not None:
            self._pass_over(name)
            return
        elif name == "skeleton":
            self.skeleton = shape
        self.shape = shape
        if self.image is not None and (self.skeleton is None or self.skeleton is shape):
            self.image.shapes.append(shape)

    def _pass_over(self, name: str) -> None:
        self.ignored = self.depth
        self.done.append(Unknown(name, self._line()))

    def _start_node(self, name: str) -> None:
        node = Node(name)
        if self.nodes:
            self.nodes[-1].children.append(node)
        if len(self.nodes) > 40:
            raise DataError("has a <meta> that is nested too deeply.", place=self._here())
        self.nodes.append(node)
        self.text.clear()
        self.expat.CharacterDataHandler = self.take

    def _end(self, name: str) -> None:
        self.depth -= 1
        if self.ignored:
            if self.depth < self.ignored:
                self.ignored = 0
        elif self.attribute is not None:
            self._end_attribute(self.attribute)
        elif self.shape is not None:
            self._end_shape()
        elif self.nodes:
            self._end_node()
        elif name == "image":
            if self.image is not None:
                self.done.append(self.image)
            self.image = None
        elif name == "track" and self.track is not None:
            self.done.append(TrackEnd(self.track))
            self.track = self.track.parent

    def _end_attribute(self, name: str) -> None:
        text = self.text
        if self.shape is not None:
            found = (name, text[0] if len(text) == 1 else "".join(text))
            if self.shape.attributes is None:
                self.shape.attributes = [found]
            else:
                self.shape.attributes.append(found)
        self.attribute = None
        text.clear()
        self.expat.CharacterDataHandler = None

    def _end_node(self) -> None:
        node = self.nodes.pop()
        if not node.children:
            node.text = "".join(self.text)
        self.text.clear()
        if not self.nodes:
            self.expat.CharacterDataHandler = None
            self.done.append(node)

    def _end_shape(self) -> None:
        shape = self.shape
        if self.skeleton is not None:
            if shape is not self.skeleton:
                self.shape = self.skeleton
                return
            self.skeleton = None
        self.shape = None
        if self.track is not None and shape is not None:
            self.done.append(TrackShape(self.track, shape))
