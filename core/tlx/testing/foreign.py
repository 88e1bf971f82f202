"""Material that belongs to nobody, and ways to damage what belongs to somebody."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tlx.media import IMAGE_SUFFIXES

MARK = b"\xef\xbb\xbf"
PICTURES = frozenset(IMAGE_SUFFIXES)
"""Images are not what a reader of labels parses; they are left as they are."""

_DEEP = 50_000


def fill(folder: Path) -> None:
    """Put files and folders there that are no labels of any known kind."""
    from tlx.testing.samples import draw

    texts = {
        "notes/README.md": "# Nothing to see\n\ntraffic light 1 2 3 4\n",
        "table/prices.csv": "city,price,year\nUlm,3,2020\nBerlin,5,2021\n",
        "page/index.xml": "<html><body><p>1 2 3 4</p></body></html>\n",
        "json/package.json": '{"name": "x", "version": "1.0.0", "images": 3}\n',
        "yaml/compose.yaml": "services:\n  web:\n    image: nginx\n",
        "rows/numbers.txt": "1 2 3\n4 5 6\n",
        "lines/log.ndjson": '{"time": 1, "text": "started"}\n{"time": 2, "text": "stopped"}\n',
        "broken/a.xml": "<annotation",
        "broken/b.json": '{"images": [',
        "broken/c.csv": "",
        "a file.txt": "hello\n",
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "an empty folder").mkdir()
    (folder / "binary").mkdir()
    noise = random.Random(1).randbytes(4096)  # noqa: S311 - the same each time
    (folder / "binary" / "data.record").write_bytes(noise)
    (folder / "binary" / "data.tfrecord").write_bytes(b"\0" * 4096)
    draw(folder / "pictures", ["a.png", "b.jpg"])
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")


def is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8 without control characters that no text has."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def damages(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """A file in states that are met in practice: what happened to it, and its bytes."""
    dice = random.Random(len(whole))  # noqa: S311 - the same damage each time
    size = len(whole)
    yield "empty", b""
    yield "cut in the middle", whole[: size // 2]
    yield "cut before its end", whole[: max(size - 3, 0)]
    yield "twice", whole + whole
    yield "with zero bytes", whole[: size // 3] + b"\0\0\0" + whole[size // 3 :]
    yield "in cp1252", b"\xe4\xf6\xfc \x80 " + whole + b"\n\xe9\xff\n"
    yield "in UTF-16", whole.decode("utf-8", "replace").encode("utf-16")
    yield "with old line ends", whole.replace(b"\n", b"\r")
    yield "all zero", b"\0" * size
    yield "deeply nested JSON", b'{"a":' * _DEEP + b"[" * _DEEP
    yield "deeply nested XML", b"<a>" * _DEEP
    yield "one long line", b"1," * _DEEP
    for number in range(6):
        data = bytearray(whole)
        for _ in range(1 + size // 50):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        yield f"garbled, number {number}", bytes(data)
    for number in range(6):
        start = dice.randrange(size + 1)
        cut = whole[:start] + whole[start + dice.randrange(1, 40) :]
        yield f"with a gap, number {number}", cut
    for old in (b"0", b"1", b"2", b"."):
        yield f"with wild numbers for {old.decode()}", whole.replace(old, b"-9e999")
        yield f"with words for {old.decode()}", whole.replace(old, b"x")
        # Whole numbers that no float holds, and names that no file system takes.
        yield f"with endless numbers for {old.decode()}", whole.replace(old, b"9" * 400)
