"""Finds and opens weight files. Nothing that lies in one is ever executed.

torchvision's own loading runs the pickle in a cached file and never checks its hash; so its
builders are used without weights, and files are opened here: the SHA-256 is computed at every
read, compared with the digits in a published name, and only plain tensors are unpickled.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlx.errors import DataError, TlxError, UsageError, nearest
from tlx_backends.torch_detection.catalog import Architecture, PublishedWeights

_WRAPPERS = ("state_dict", "model", "model_state_dict")
_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 60
_RUN_CHECKPOINT = Path("checkpoints") / "best.pt"


@dataclass(frozen=True, slots=True)
class WeightSource:
    """An opened weight file.

    Attributes:
        path: The file.
        sha256: Its full digest.
        content: What lies in it: a state dictionary or a checkpoint of ours.
        published: Set when it is a file that torchvision publishes.
    """

    path: Path
    sha256: str
    content: Mapping[str, Any]
    published: PublishedWeights | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The state dictionary, out of the usual wrappings.

        Raises:
            DataError: If there are no named tensors in the file.
        """
        found: Any = self.content
        for name in _WRAPPERS:
            if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
                found = found[name]
        tensors = {
            str(k).removeprefix("module."): v for k, v in found.items() if isinstance(v, Tensor)
        }
        if not tensors:
            raise DataError("holds no named tensors, so it is no weight file.", place=self.path)
        return tensors


def find(name: str, entry: Architecture, *, download: bool) -> WeightSource:
    """Open what ``--weights`` names: published weights, a weight file, or an earlier run.

    Raises:
        UsageError: If nothing has this name; for published weights that are not in torch's cache,
            where to get them.
        DataError: If the file's hash is wrong or it holds more than plain tensors.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return read(path, published_file(path, entry))
    if path.is_dir():
        checkpoint = path / _RUN_CHECKPOINT
        if not checkpoint.is_file():
            raise UsageError(
                f"{path} is a folder without {_RUN_CHECKPOINT}, so it is no run of the torch "
                "backend that got as far as a checkpoint."
            )
        return read(checkpoint)
    published = _published(name, entry)
    target = cache_folder() / published.file
    if not target.is_file():
        if not download:
            raise UsageError(
                f"the weights {published.name} of {entry.name} are not on this machine: {target} "
                "does not exist.",
                hint=f"Put {published.url} there, let tlx fetch it (--download), or start from "
                "random weights (--weights none).",
            )
        _download(published, target)
    return read(target, published)


def cache_folder() -> Path:
    """Where torch keeps weight files."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def published_file(path: Path, entry: Architecture) -> PublishedWeights | None:
    """Which published weights a file is by its name, None for any other file."""
    return next((weights for weights in entry.published if weights.file == path.name), None)


def _published(name: str, entry: Architecture) -> PublishedWeights:
    wanted = name.rsplit(".", 1)[-1].lower()
    if wanted == "default" and entry.published:
        return entry.published[0]
    for weights in entry.published:
        if weights.name.lower() == wanted:
            return weights
    known = ["none", *(weights.name for weights in entry.published)]
    raise UsageError(
        f"{name!r} is neither a file, nor a run, nor published weights of {entry.name}.",
        hint=nearest(name, known),
    )


def read(path: Path, published: PublishedWeights | None = None) -> WeightSource:
    """Read a file once: digest and tensors are of the same bytes.

    Raises:
        DataError: If the digest is not the published one, or the file is no plain torch file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", place=path) from error
    sha256 = hashlib.sha256(data).hexdigest()
    if published is not None:
        _require_hash(sha256, published, path)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"is not a file of plain tensors, and nothing in it was run: {first}",
            place=path,
            hint="Use a state dictionary that torch.load(weights_only=True) opens.",
        ) from error
    if not isinstance(content, Mapping):
        raise DataError("holds no state dictionary.", place=path)
    return WeightSource(path, sha256, content, published)


def _require_hash(sha256: str, published: PublishedWeights, path: Path) -> None:
    if not sha256.startswith(published.hash_prefix):
        raise DataError(
            f"is not the published file: its SHA-256 begins with {sha256[:8]}, its name promises "
            f"{published.hash_prefix}.",
            place=path,
            hint=f"Delete it and fetch it again from {published.url}",
        )


def _download(published: PublishedWeights, target: Path) -> None:
    """Fetch a file beside its place, check it, then rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    part = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as out,
            # The address is a constant of the catalog.
            urllib.request.urlopen(published.url, timeout=_TIMEOUT_SECONDS) as response,  # noqa: S310
        ):
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
        _require_hash(digest.hexdigest(), published, part)
        part.replace(target)
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise TlxError(
            f"cannot fetch {published.url}: {reason}.",
            hint=f"Fetch it by other means and put it at {target}",
        ) from error
    finally:
        part.unlink(missing_ok=True)
