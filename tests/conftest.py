"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# One thread is as fast as several for networks of this size, and does not suffer from other jobs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background job ignores SIGINT, and so would every command that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real sample files beside the checkout; tests that need them are skipped without."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real sample files (../shared/data) are not here")
    return folder
