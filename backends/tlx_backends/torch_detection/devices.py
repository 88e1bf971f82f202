"""Where and in which precision the arithmetic runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tlx.errors import UsageError
from tlx_backends.torch_detection.catalog import Architecture

_CPU_FACTS = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")


def choose(name: str) -> torch.device:
    """The device of a name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: If it is not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise UsageError(f"--device must be auto, cpu, cuda or cuda:N, not {name!r}.")
    if not torch.cuda.is_available():
        raise UsageError(
            f"{name} was asked for, but torch {torch.__version__} finds no GPU here.",
            hint="Train on the processor with --device cpu, or check the driver and torch's build.",
        )
    if number and int(number) >= torch.cuda.device_count():
        raise UsageError(f"{name} was asked for, but there are {torch.cuda.device_count()} GPUs.")
    return torch.device(name)


def uses_bfloat16(choice: str, device: torch.device, entry: Architecture) -> bool:
    """Whether a training step computes in bfloat16.

    ``auto`` takes it on GPUs that have it, and on processors that have it for heavy networks (1.7
    to 1.9 times as fast); light ones lose by it.
    """
    if choice != "auto":
        return choice == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if not entry.heavy or not _CPU_FACTS.is_file():
        return False
    facts = _CPU_FACTS.read_text(encoding="utf-8", errors="replace")
    return any(flag in facts for flag in _BFLOAT16_FLAGS)


@contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Give torch so many threads, and what it had before afterwards."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
