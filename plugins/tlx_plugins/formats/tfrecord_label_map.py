"""``label_map.pbtxt``: the classes of a TF Object Detection API dataset.

It is a text protocol buffer (protobuf.dev/reference/protobuf/textformat-spec) of
tensorflow/models ``object_detection/protos/string_int_label_map.proto``::

    item { name: "/m/01g317" id: 1 display_name: "person" }
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tlx.errors import DataError, Place

_MAXIMUM_SIZE = 64 << 20
_MAXIMUM_DEPTH = 32
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[A-Za-z_0-9.+\-]+)
    |(?P<mark>[{}<>\[\]:,;/])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    rb"\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL
)
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,18})")
_LETTERS = {
    b"n": b"\n",
    b"t": b"\t",
    b"r": b"\r",
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"v": b"\v",
}
_CLOSING = {"{": "}", "<": ">"}


@dataclass(frozen=True, slots=True)
class Item:
    """One class.

    Attributes:
        item_id: From 1; 0 is the background.
        name: What ``image/object/class/text`` says.
        display_name: What people read, if the file has it.
        keypoints: Names of the keypoints, in order.
    """

    item_id: int
    name: str
    display_name: str | None = None
    keypoints: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The name that people read."""
        return self.display_name or self.name


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


class _Text(str):
    """A quoted text, other than a bare word."""

    __slots__ = ()


_Message = list[tuple[str, "_Value", int]]
_Value = str | _Message


def read_label_map(path: Path) -> tuple[Item, ...]:
    """The classes of a file, in its order.

    Raises:
        DataError: With the line, if it is no label map.
    """
    try:
        size = path.stat().st_size
        if size > _MAXIMUM_SIZE:
            raise DataError(f"is no label map: it has {size:,} bytes.", place=path)
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is no UTF-8 text: {error}", place=path) from error
    return parse_label_map(text, str(path))


def parse_label_map(text: str, name: str = "label map") -> tuple[Item, ...]:
    """The classes of a label map's text; ``name`` is the file's for errors.

    Raises:
        DataError: With the line, if it is no label map.
    """
    message = _Parser(text, name).message(None, 0)
    found = []
    for field, value, line in message:
        if field == "item":
            if isinstance(value, str):
                raise DataError("an item is not a block { ... }.", place=Place(name, line))
            found.append(_item(value, Place(name, line)))
    if not found and text.strip():
        place = Place(name, 1)
        raise DataError("is no label map: it has no item { ... }.", place=place)
    return tuple(found)


def _item(message: _Message, place: Place) -> Item:
    texts = {f: str(v) for f, v, _ in message if isinstance(v, _Text)}
    item_id = _integer(message, place)
    name = texts.get("name") or texts.get("display_name")
    if not name:
        raise DataError(f"the item {item_id} has no name.", place=place)
    points = [
        str(v)
        for field, value, _ in message
        if field == "keypoints" and not isinstance(value, str)
        for f, v, _ in value
        if f == "label" and isinstance(v, _Text)
    ]
    return Item(item_id, name, texts.get("display_name") or None, tuple(points))


def _integer(message: _Message, place: Place) -> int:
    ids = [value for field, value, _ in message if field == "id"]
    if not ids:
        raise DataError("an item has no id.", place=place)
    last = ids[-1]
    digits = isinstance(last, str) and not isinstance(last, _Text) and _INTEGER.fullmatch(last)
    if not digits:
        raise DataError(f"the id {last} is no whole number.", place=place)
    number = int(str(last), 0)
    if not 0 <= number < 2**31:
        raise DataError(f"the id {number} is out of range; ids count from 1.", place=place)
    return number


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.tokens = [*_tokens(text, name)]
        self.position = 0

    def _peek(self) -> _Token:
        return self.tokens[self.position]

    def _next(self) -> _Token:
        token = self.tokens[self.position]
        self.position += 1
        return token

    def _fail(self, message: str, token: _Token) -> DataError:
        found = "the file ends" if token.kind == "end" else f"found {token.text!r}"
        return DataError(f"{message}; {found}.", place=Place(self.name, token.line))

    def message(self, closing: str | None, depth: int) -> _Message:
        """Fields up to the closing mark, or to the end of the file."""
        if depth > _MAXIMUM_DEPTH:
            raise self._fail("blocks lie too deep in each other", self._peek())
        found: _Message = []
        while True:
            token = self._next()
            if token.kind == "end" and closing is None:
                return found
            if token.kind == "mark" and token.text == closing:
                return found
            if token.kind == "mark" and token.text == "[":
                field = self._extension()
            elif token.kind == "word":
                field = token.text
            else:
                raise self._fail("expected the name of a field", token)
            found += [(field, value, token.line) for value in self._values(depth)]
            if self._peek().text in (",", ";") and self._peek().kind == "mark":
                self._next()

    def _extension(self) -> str:
        """The name of an extension or of an Any, in brackets."""
        parts = []
        while (token := self._next()).text != "]":
            if token.kind == "end":
                raise self._fail("expected ]", token)
            parts.append(token.text)
        return "[" + "".join(parts) + "]"

    def _values(self, depth: int) -> list[_Value]:
        token = self._peek()
        if token.kind == "mark" and token.text == ":":
            self._next()
        elif not (token.kind == "mark" and token.text in "{<"):
            raise self._fail("expected : or { after the name of a field", token)
        if self._peek().kind == "mark" and self._peek().text == "[":
            self._next()
            values: list[_Value] = []
            while not (self._peek().kind == "mark" and self._peek().text == "]"):
                values.append(self._value(depth))
                if self._peek().kind == "mark" and self._peek().text == ",":
                    self._next()
            self._next()
            return values
        return [self._value(depth)]

    def _value(self, depth: int) -> _Value:
        token = self._next()
        if token.kind == "mark" and token.text in _CLOSING:
            return self.message(_CLOSING[token.text], depth + 1)
        if token.kind == "word":
            return token.text
        if token.kind != "text":
            raise self._fail("expected a value", token)
        data = _unescaped(token.text)
        # Texts one behind the other are one text.
        while self._peek().kind == "text":
            data += _unescaped(self._next().text)
        try:
            return _Text(data.decode())
        except UnicodeDecodeError as error:
            place = Place(self.name, token.line)
            raise DataError(f"the text {token.text} is no UTF-8: {error}", place=place) from error


def _tokens(text: str, name: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            shown = text[position : position + 20].splitlines()[0]
            raise DataError(f"cannot be read from {shown!r} on.", place=Place(name, line))
        kind = str(match.lastgroup)
        if kind != "space":
            yield _Token(kind, match[0], line)
        line += match[0].count("\n")
        position = match.end()
    yield _Token("end", "", line)


def _unescaped(quoted: str) -> bytes:
    def letter(match: re.Match[bytes]) -> bytes:
        escape = match[1]
        if escape[:1].isdigit():
            return bytes((int(escape, 8) & 255,))
        if escape[:1] in b"xX" and len(escape) > 1:
            return bytes((int(escape[1:], 16),))
        if escape[:1] in b"uU" and len(escape) > 1:
            return chr(min(int(escape[1:], 16), 0x10FFFF)).encode(errors="replace")
        return _LETTERS.get(escape, escape)

    return _ESCAPE.sub(letter, quoted[1:-1].encode())


def write_label_map(items: Sequence[Item]) -> str:
    """The text of a label map, with its items in the given order."""
    blocks = []
    for item in items:
        lines = [f"  id: {item.item_id}", f"  name: {_quoted(item.name)}"]
        if item.display_name is not None:
            lines.append(f"  display_name: {_quoted(item.display_name)}")
        blocks.append("item {\n" + "\n".join(lines) + "\n}\n")
    return "\n".join(blocks)


def _quoted(text: str) -> str:
    """A text in quotes; letters beyond ASCII stay readable, as UTF-8."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\{ord(m[0]):03o}", escaped) + '"'
