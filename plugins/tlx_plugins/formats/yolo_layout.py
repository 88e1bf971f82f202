"""Where the parts of a YOLO folder lie.

Known layouts::

    Ultralytics      data.yaml, images/train, labels/train
    Roboflow         data.yaml, train/images, train/labels, valid/...
    Darknet, CVAT    obj.data, obj.names, obj_train_data/*.jpg with *.txt beside them
    labelImg         classes.txt, *.jpg with *.txt beside them

The labels of ``.../images/X.jpg`` are ``.../labels/X.txt``: the last folder named images counts
(ultralytics ``data/utils.py``, ``img2label_paths``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlx.context import Context
from tlx.errors import DataError, Place
from tlx.folder_walk import is_text, join, walk
from tlx.issues import Issue
from tlx.media import IMAGE_SUFFIXES
from tlx.split_names import folder_split, usual_split

NAME_FILES = ("classes.txt", "obj.names", "predefined_classes.txt")
_CONFIGURATIONS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_OTHER_KEYS = frozenset(
    {"path", "names", "nc", "download", "kpt_shape", "flip_idx", "channels", "task"}
)
_MAXIMUM_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image: its path, the path below its split's folder, its split, and its labels if any."""

    path: str
    inner: str
    split: str | None
    labels: str | None


@dataclass(slots=True)
class Layout:
    """What was found.

    Attributes:
        root: The folder that all paths are relative to.
        names: Class names by their number; empty where nobody says.
        images: The images, sorted within their split.
        strays: Label files without an image.
        files: What defines the input: the configuration, names and labels.
        task: What the configuration says that the labels are for; only tlx writes it.
    """

    root: Path
    names: dict[int, str] = field(default_factory=dict)
    images: list[ImageFile] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    files: tuple[Path, ...] = ()
    task: str | None = None


def find_configuration(root: Path) -> Path | None:
    """The YAML file with class names, if the path is or holds one."""
    if root.is_file():
        return root if root.suffix.lower() in {".yaml", ".yml"} and _has_names(root) else None
    usual = [root / name for name in _CONFIGURATIONS]
    others = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    return next(
        (p for p in dict.fromkeys([*usual, *others]) if p.is_file() and _has_names(p)), None
    )


def _has_names(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(1 << 20).removeprefix(b"\xef\xbb\xbf")
        return re.search(rb"^[\"']?names[\"']?\s*:", head, re.MULTILINE) is not None
    except OSError:
        return False


def find_names(root: Path) -> Path | None:
    """A text file with one class per line."""
    places = [root / name for name in NAME_FILES]
    places += [root / "labels" / "classes.txt", *sorted(root.glob("*.names"))]
    places += sorted(root.glob("*/classes.txt"))
    return next((path for path in places if path.is_file()), None)


def scan(root: Path, context: Context) -> Layout:
    """Read the configuration and walk the folder once.

    Raises:
        DataError: If ``data.yaml`` is broken, or none of its folders exists.
    """
    configuration = find_configuration(root)
    top = root.parent if root.is_file() else root
    settings: dict[str, Any] = {}
    if configuration is not None:
        settings = _load(configuration)
        top = configuration.parent
        stated = settings.get("path")
        if isinstance(stated, str) and (top / stated).is_dir():
            top = top / stated
    layout = Layout(top)
    if isinstance(settings.get("task"), str):
        layout.task = settings["task"]
    names_file = None
    if configuration is not None:
        layout.names = _names(settings.get("names"), configuration, context)
    else:
        names_file = find_names(top)
        layout.names = _listed(names_file) if names_file is not None else {}
    images, texts = _walk(top, context)
    if names_file is not None:
        texts.discard(names_file.relative_to(top).as_posix())
    chosen = _chosen(settings, layout, images, configuration, context)
    if None not in chosen:
        listed = {path for found in chosen.values() for path, _ in found}
        # Labelled images of no split; pictures without labels may be anything.
        chosen[None] = [
            (path, path.removeprefix("images/"))
            for path in images
            if path not in listed and any(name in texts for name in _label_names(path))
        ]
    used: set[str] = set()
    for split, found in chosen.items():
        for path, inner in found:
            labels = next((name for name in _label_names(path) if name in texts), None)
            if labels is not None:
                used.add(labels)
            layout.images.append(ImageFile(path, inner, split or folder_split(path), labels))
    where = {name.rpartition("/")[0] for name in used}
    layout.strays = sorted(
        name
        for name in texts - used
        if ("labels" in name.split("/")[:-1] or name.rpartition("/")[0] in where)
        and name.rpartition("/")[2] not in NAME_FILES
        and (not settings or any(name.startswith(folder + "/") for folder in where if folder))
    )
    defining = [p for p in (configuration, names_file) if p is not None]
    layout.files = (*defining, *(top / name for name in sorted(used)))
    return layout


def _walk(top: Path, context: Context) -> tuple[list[str], set[str]]:
    images: list[str] = []
    texts: set[str] = set()
    for folder, names in walk(top):
        for name in names:
            path = join(folder, name)
            suffix = "." + name.rpartition(".")[2].lower()
            if suffix != ".txt" and suffix not in IMAGE_SUFFIXES:
                continue
            if not is_text(path):
                shown = path.encode(errors="backslashreplace").decode()
                message = "the name of this file is not text."
                context.issues.report(Issue("bad-name", message, f"{top}/{shown}"))
            elif suffix == ".txt":
                texts.add(path)
            else:
                images.append(path)
    return sorted(images), texts


def _label_names(path: str) -> list[str]:
    """Where the labels of an image may lie, likely places first."""
    stem = path.rpartition(".")[0]
    parts = stem.split("/")
    found = []
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            found.append("/".join([*parts[:index], "labels", *parts[index + 1 :]]) + ".txt")
            break
    return [*found, stem + ".txt", f"labels/{stem}.txt"]


def _chosen(
    settings: dict[str, Any],
    layout: Layout,
    images: list[str],
    configuration: Path | None,
    context: Context,
) -> dict[str | None, list[tuple[str, str]]]:
    """For each split the images with their paths below the split's folder."""
    stated = {
        key: [value] if isinstance(value, str) else value
        for key, value in settings.items()
        if key not in _OTHER_KEYS and isinstance(value, (str, list)) and value
    }
    order = {"train": 0, "val": 1, "test": 2}
    chosen: dict[str | None, list[tuple[str, str]]] = {}
    taken: set[str] = set()
    for key in sorted(stated, key=lambda name: (order.get(name, 3), name)):
        for value in stated[key]:
            if not isinstance(value, str):
                continue
            found = _below(value, layout.root, images)
            if not found and key in order:
                message = f"{key} names {value[:200]!r}, where there are no images."
                place = str(configuration)
                context.issues.report(Issue("missing-folder", message, place, action="kept"))
            for path, inner in found:
                if path in taken:
                    message = f"{path} is in {key} and in an earlier split, which holds."
                    place = str(configuration)
                    context.issues.report(Issue("two-splits", message, place, action="changed"))
                    continue
                taken.add(path)
                chosen.setdefault(usual_split(key) or key, []).append((path, inner))
    if stated and not chosen and set(stated) & set(order):
        raise DataError(
            f"none of its folders ({', '.join(sorted(set(stated) & set(order)))}) holds images.",
            place=configuration,
            hint="Mend its paths: they start at the folder of the file, or at its path.",
        )
    if not chosen:
        chosen[None] = [(path, path.removeprefix("images/")) for path in images]
    return chosen


def _below(value: str, top: Path, images: list[str]) -> list[tuple[str, str]]:
    """The images of a folder, or of a list of images."""
    name = value.replace("\\", "/")
    absolute = Path(name)
    if absolute.is_absolute() and absolute.is_relative_to(top.absolute()):
        name = absolute.relative_to(top.absolute()).as_posix()
    # Roboflow writes ../train/images for train/images.
    name = re.sub(r"^(\.{1,2}/)+", "", name).strip("/")
    if name.endswith(".txt"):
        return _from_list(top, name, images)
    if name in {"", "."}:
        return [(path, path) for path in images]
    return [(path, path[len(name) + 1 :]) for path in images if path.startswith(name + "/")]


def _from_list(top: Path, name: str, images: list[str]) -> list[tuple[str, str]]:
    try:
        lines = (top / name).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    known = set(images)
    folder = name.rpartition("/")[0]
    found = []
    for line in lines:
        text = re.sub(r"^(\.{1,2}/)+", "", line.strip().replace("\\", "/"))
        tails = [join(folder, text), text, text.partition("/")[2]]
        path = next((tail for tail in tails if tail in known), None)
        if path is not None:
            found.append((path, path.removeprefix("images/")))
    return found


def _load(path: Path) -> dict[str, Any]:
    """The settings of a YAML file; every scalar stays text, so that a class may be named no."""
    import yaml

    try:
        data = path.read_bytes()
        if len(data) > _MAXIMUM_BYTES:
            raise DataError("is too large for a YOLO data.yaml.", place=path)
        value = yaml.load(data, Loader=yaml.BaseLoader)  # noqa: S506 - makes text, lists and maps
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}.", place=path) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        message = f"is not YAML: {error.problem or error}."
        raise DataError(message, place=Place(str(path), line)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DataError(f"is not YAML: {str(error).splitlines()[0]}.", place=path) from error
    if not isinstance(value, dict):
        raise DataError("is no mapping with the key names.", place=path)
    return {str(key): entry for key, entry in value.items()}


def _names(value: Any, path: Path, context: Context) -> dict[int, str]:
    """Class names by number, from a list or a mapping."""
    pairs = list(enumerate(value)) if isinstance(value, list) else []
    if isinstance(value, dict):
        pairs = [(int(k), v) if _is_number(k) else (-1, v) for k, v in value.items()]
    names = {number: name for number, name in pairs if number >= 0 and isinstance(name, str)}
    if not names or len(names) != len(pairs):
        raise DataError(
            "names is no list of class names and no mapping from numbers to names.",
            place=path,
            hint="Write it like: names: {0: car, 1: bus}",
        )
    if len(set(names.values())) != len(names):
        message = "several numbers have the same class name; they become one class."
        context.issues.report(Issue("duplicate-category", message, str(path), action="merged"))
    return dict(sorted(names.items()))


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < 9


def _listed(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"this list of classes cannot be read: {error}.", place=path) from error
    return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
