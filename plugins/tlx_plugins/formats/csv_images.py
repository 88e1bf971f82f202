"""The images that the cells of a table mean."""

from __future__ import annotations

from pathlib import Path

from tlx.fetched import FetchedImages
from tlx.folder_walk import is_text, join, walk
from tlx.media import IMAGE_SUFFIXES


class Images:
    """All images below a folder, found by path, by name, by name without its end, by address.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fetched = FetchedImages(root)
        self.paths: set[str] = set()
        self.by_name: dict[str, list[str]] = {}
        for folder, names in walk(root):
            for name in names:
                if suffix(name) in IMAGE_SUFFIXES and is_text(name) and is_text(folder):
                    path = join(folder, name)
                    self.paths.add(path)
                    self.by_name.setdefault(name, []).append(path)
                    self.by_name.setdefault(stem(name), []).append(path)

    def find(self, cell: str, folder: str) -> list[str]:
        """The images that a cell may mean, relative to the root; one where it is clear.

        A path counts from the table's folder, then from the root, then by as many of its last
        parts as agree with one image; a name without an image's end stands for any of them. An
        address means the image that ``tlx fetch`` brought from it.

        Args:
            cell: What the table says.
            folder: The table's folder, relative to the root.
        """
        if is_url(cell):
            brought = self.fetched.find(cell)
            return [] if brought is None else [brought]
        path = clean(cell)
        for place in (join(folder, path), path):
            if place in self.paths:
                return [place]
        found = self.by_name.get(path.rpartition("/")[2], [])
        if len(found) > 1:
            parts = [part for part in path.split("/") if part]
            for count in range(len(parts), 0, -1):
                tail = "/" + "/".join(parts[-count:])
                close = [p for p in found if f"/{p}".endswith(tail) or stem(f"/{p}").endswith(tail)]
                if close:
                    beside = [p for p in close if p.startswith(f"{folder}/")] if folder else []
                    return beside if len(beside) == 1 else close
        return found


def clean(cell: str) -> str:
    """A path as the table says it, with slashes, and below the folder where it leads out."""
    path = cell.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/") or ".." in parts or (parts and parts[0][1:] == ":"):
        parts = parts[-1:]
    return "/".join(parts)


def is_url(cell: str) -> bool:
    """Whether a cell is an address."""
    return cell.partition("://")[0].lower() in {"http", "https", "s3", "gs"} and "://" in cell


def suffix(name: str) -> str:
    """The end of a name from its last dot, in lower case."""
    return name[name.rfind(".") :].lower() if "." in name else ""


def stem(name: str) -> str:
    """A name without the end of an image."""
    end = suffix(name)
    return name[: -len(end)] if end in IMAGE_SUFFIXES else name
