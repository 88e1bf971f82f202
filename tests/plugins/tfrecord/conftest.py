"""The two judges of TFRecord: a decoder of our own for the tests, and TensorFlow if it is there."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def judge() -> Any:
    """The module ``record_decoder``, which knows nothing of tlx."""
    spec = importlib.util.spec_from_file_location("record_decoder", HERE / "record_decoder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tensorflow() -> Callable[..., list[dict[str, Any]]]:
    """What TensorFlow reads in a file: one mapping of keys to values per record."""
    python = os.environ.get("TLX_TENSORFLOW_PYTHON")
    if not python:
        pytest.skip("TLX_TENSORFLOW_PYTHON names no Python with TensorFlow")

    def read(path: Path, compression: str = "") -> list[dict[str, Any]]:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        result = subprocess.run(
            [python, str(HERE / "tensorflow_judge.py"), str(path), compression],
            capture_output=True,
            text=True,
            check=False,
            env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert result.returncode == 0, result.stderr[-2000:]
        return [json.loads(line) for line in result.stdout.splitlines()]

    return read
