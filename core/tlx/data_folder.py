"""Where tlx keeps what it was asked to install or made for speed, outside of the user's folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "TLX_DATA_DIR"


def data_folder() -> Path:
    r"""The data folder; it need not exist.

    ``TLX_DATA_DIR``, or the platform's place: ``$XDG_DATA_HOME/tlx`` (``~/.local/share/tlx``),
    ``~/Library/Application Support/tlx`` on macOS, ``%LOCALAPPDATA%\tlx`` on Windows.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "tlx"
