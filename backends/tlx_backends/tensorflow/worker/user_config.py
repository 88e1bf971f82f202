"""placeholder"""

from pathlib import Path
from typing import Any


def complete(path: Path, classes: Any, training: Any) -> tuple[Any, list[str]]:
    raise ValueError("x")
