"""What pytest gets by the entry point ``pytest11``: fixtures for tests of plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

Files = Mapping[str, str | bytes | tuple[int, int]]
"""Path below a folder, to a text, bytes, or the width and height of an image in pixels."""


@pytest.fixture
def put_files(tmp_path: Path) -> Callable[..., Path]:
    """Write texts, bytes and images below a folder, ``root`` in the test's own by default."""

    def put(files: Files, root: Path | None = None) -> Path:
        folder = tmp_path / "root" if root is None else root
        for name, value in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _put(path, value)
        return folder

    return put


def _put(path: Path, value: Any) -> None:
    if isinstance(value, tuple):
        from PIL import Image

        Image.new("RGB", value).save(path)
    elif isinstance(value, bytes):
        path.write_bytes(value)
    else:
        path.write_text(value, encoding="utf-8")
