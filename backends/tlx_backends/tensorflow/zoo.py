"""Published weights of the API's model zoo, and whatever else ``--weights`` may name.

Source: the API's "TensorFlow 2 Detection Model Zoo" (research/object_detection/g3doc/
tf2_detection_zoo.md). It states no checksums, so the SHA-256 of an archive is noted when it is
first fetched, and a file that has another one later is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tlx.context import Context
from tlx.data_folder import data_folder
from tlx.errors import DataError, TlxError, UsageError
from tlx.staging import staged
from tlx_backends.tensorflow import checkpoints

_URL = "https://download.tensorflow.org/models/object_detection/tf2"
_DATE = "20200711"
# Archives that were published on another day than the rest.
_DATES = {
    "centernet_hg104_512x512_coco17_tpu-8": "20200713",
    "centernet_hg104_1024x1024_coco17_tpu-32": "20200713",
    "centernet_mobilenetv2fpn_512x512_coco17_od": "20210210",
}
_TIMEOUT_SECONDS = 60
_CHUNK = 1 << 20
_LARGEST_MEMBER = 4 << 30


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a training starts from, as the worker is told.

    Attributes:
        prefix: TensorFlow's checkpoint without the endings of its files.
        origin: ``run`` (of tlx), ``zoo`` (an archive of the model zoo) or ``checkpoint``.
        name: What it is, for people.
        sha256: Of the archive, or of the run's checkpoint.
        classes: Class names, where they are known.
        config: The pipeline.config that belongs to it, where there is one.
        model: Name of the network in tlx, where it is known.
    """

    prefix: str
    origin: str
    name: str
    sha256: str | None = None
    classes: tuple[str, ...] | None = None
    config: str | None = None
    model: str | None = None

    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self)
        values["classes"] = None if self.classes is None else list(self.classes)
        return values


def weights_folder() -> Path:
    """Where archives are kept, and unpacked."""
    return data_folder() / "weights"


def url(name: str) -> str:
    """Where the zoo publishes an archive."""
    return f"{_URL}/{_DATES.get(name, _DATE)}/{name}.tar.gz"


def find(name: str, published: tuple[str, ...], context: Context, *, download: bool) -> Weights:
    """Open what ``--weights`` names: an archive of the zoo, a file, a folder, or an earlier run.

    Args:
        name: A name among ``published``, or a path.
        published: Names of the archives for the network.
        context: Shows the progress of a download.
        download: Fetch a published archive that is not here.

    Raises:
        UsageError: If nothing has this name; for published weights, where to get them.
        DataError: If there is no checkpoint in it, or its SHA-256 is not the noted one.
    """
    if name in published:
        archive = weights_folder() / f"{name}.tar.gz"
        if not archive.is_file():
            if not download:
                raise UsageError(
                    f"the weights {name} are not on this machine: {archive} does not exist.",
                    hint=f"Put {url(name)} there, let tlx fetch it (--download), or start from "
                    "random weights (--weights none).",
                )
            _download(name, archive, context)
        return _unpacked(archive)
    path = Path(name).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.name.endswith((".tar.gz", ".tgz", ".tar")) and path.is_file():
        return _unpacked(path)
    index = path if path.suffix == ".index" else path.with_name(path.name + ".index")
    if index.is_file():
        prefix = index.with_suffix("")
        return Weights(str(prefix), "checkpoint", str(path), config=_config_beside(prefix.parent))
    # PyTorch's files are ZIP archives, but for the oldest.
    other = path.suffix in {".pt", ".pth"} or zipfile.is_zipfile(path)
    kind = "a file of PyTorch" if other and path.is_file() else "no checkpoint of TensorFlow"
    raise UsageError(
        f"{path} is {kind}; this backend starts from a checkpoint of TensorFlow "
        "(ckpt-0.index), a folder or an archive (.tar.gz) that holds one, or an earlier run."
    )


def _folder(path: Path) -> Weights:
    """A run of ours, an unpacked archive, or a folder with a checkpoint."""
    if (path / "request.json").is_file():
        _require_tensorflow(path)
        found = checkpoints.read(path)
        config = path / "pipeline.config"
        return Weights(
            str(found.prefix),
            "run",
            str(path),
            sha256=found.sha256,
            classes=found.classes,
            config=str(config) if config.is_file() else None,
            model=found.model,
        )
    for folder in (path, path / "checkpoint"):
        found_here = sorted(folder.glob("*.index"), key=lambda p: (len(p.name), p.name))
        if found_here:
            prefix = found_here[-1].with_suffix("")
            return Weights(str(prefix), "checkpoint", str(path), config=_config_beside(folder))
    raise UsageError(
        f"{path} holds no checkpoint: looked for *.index in it and in its folder checkpoint/."
    )


def _require_tensorflow(run: Path) -> None:
    """Refuse a run of a backend whose weights are none of TensorFlow's."""
    best = run / "checkpoints" / "best.json"
    try:
        backend = json.loads((run / "request.json").read_bytes()).get("backend")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError("is no run that tlx wrote.", place=run) from error
    if backend is not None and not best.is_file():
        raise UsageError(
            f"{run} is a run of the backend {backend!r} without a checkpoint of TensorFlow.",
            hint="Start from a run of a TensorFlow backend, from published weights (default), or "
            "from random ones (none).",
        )


def _config_beside(folder: Path) -> str | None:
    for place in (folder, folder.parent):
        if (place / "pipeline.config").is_file():
            return str(place / "pipeline.config")
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note_file(archive: Path) -> Path:
    return archive.with_name(archive.name + ".json")


def _unpacked(archive: Path) -> Weights:
    """Take checkpoint and configuration out of an archive, once per content of it."""
    try:
        sha256 = _sha256(archive)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", place=archive) from error
    _require_noted(archive, sha256)
    folder = weights_folder() / sha256[:24]
    if not folder.is_dir():
        with staged(folder) as target:
            target.mkdir()
            _extract(archive, target)
    index = sorted(folder.glob("*.index"))
    config = folder / "pipeline.config"
    return Weights(
        str(index[0].with_suffix("")),
        "zoo",
        archive.name.split(".tar")[0].removesuffix(".tgz"),
        sha256=sha256,
        config=str(config) if config.is_file() else None,
    )


def _require_noted(archive: Path, sha256: str) -> None:
    note = _note_file(archive)
    if archive.parent != weights_folder() or not note.is_file():
        return
    noted = json.loads(note.read_text(encoding="utf-8"))["sha256"]
    if noted != sha256:
        raise DataError(
            f"has changed since it was fetched: its SHA-256 is {sha256[:12]}..., not "
            f"{noted[:12]}...",
            place=archive,
            hint=f"Delete it and {note.name}, and fetch it again.",
        )


def _extract(archive: Path, target: Path) -> None:
    """Copy out the files of the one checkpoint, and nothing else, whatever their paths say."""
    wanted: dict[str, bool] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                kept = name == "pipeline.config" or ".data-" in name or name.endswith(".index")
                # The SavedModel's variables look like a checkpoint too.
                if not (kept and member.isfile()) or name.startswith("variables."):
                    continue
                if name in wanted or member.size > _LARGEST_MEMBER:
                    raise DataError(f"holds {name} twice, or too large.", place=archive)
                wanted[name] = True
                content = tar.extractfile(member)
                if content is None:
                    continue
                with content, (target / name).open("wb") as out:
                    while part := content.read(_CHUNK):
                        out.write(part)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename and str(target) in str(error.filename):
            raise
        raise DataError(f"is no archive that can be unpacked: {error}", place=archive) from error
    if sum(name.endswith(".index") for name in wanted) != 1:
        raise DataError(
            "holds no checkpoint (ckpt-0.index and ckpt-0.data-...), or several.",
            place=archive,
            hint="Use an archive of the model zoo for TensorFlow 2; those of TensorFlow 1 "
            "(model.ckpt, frozen_inference_graph.pb) cannot be restored.",
        )


def _download(name: str, target: Path, context: Context) -> None:
    """Fetch an archive beside its place, note its SHA-256, then rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    address = url(name)
    digest = hashlib.sha256()
    handle, part_name = tempfile.mkstemp(
        prefix=f".{target.name}.", suffix=".part", dir=target.parent
    )
    part = Path(part_name)
    size = 0
    try:
        with (
            os.fdopen(handle, "wb") as out,
            # The address is made of constants and a name of our own table.
            urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as response,  # noqa: S310
        ):
            stated = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
                size += len(chunk)
                context.progress.status(f"{name}: {size >> 20} of {stated >> 20} MB")
        if stated and size != stated:
            raise TlxError(
                f"{address} broke off after {size:,} of {stated:,} bytes.", hint="Run it again."
            )
        note = {"url": address, "sha256": digest.hexdigest(), "bytes": size}
        _note_file(target).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        part.replace(target)
        context.emit({"kind": "log", "message": f"{name}: SHA-256 {digest.hexdigest()}"})
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise TlxError(
            f"cannot fetch {address}: {reason}.",
            hint=f"Fetch it by other means and put it at {target}",
        ) from error
    finally:
        part.unlink(missing_ok=True)
