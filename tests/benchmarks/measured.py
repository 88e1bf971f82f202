"""One process measured by the system: wall time, CPU time and peak memory (getrusage).

    python measured.py LIMIT COMMAND...

Prints a line of JSON. It imports next to nothing and runs as a process of its own, as the peak of a
process counts what its parent held when it was started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple


class Figures(NamedTuple):
    """What one process took, with the children that it waited for: seconds and megabytes."""

    wall: float
    user: float
    system: float
    peak: float


def last_line(text: str) -> str:
    """What a failed process said last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:110].replace("|", "/") if lines else "no message"


def measure(command: list[str], limit: float, variables: dict[str, str]) -> Figures | str:
    """Run one process and ask the system what it took; or say how it failed.

    Args:
        command: What to run; its output is dropped.
        limit: Seconds after which it is stopped.
        variables: Its environment.
    """
    made = subprocess.run(
        [sys.executable, "-S", "-E", __file__, str(limit), *command],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        return f"failed: {last_line(made.stderr)}"
    found = json.loads(made.stdout)
    return found if isinstance(found, str) else Figures(*found)


def _run(limit: float, command: list[str]) -> Figures | str:
    import tempfile

    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        while True:
            finished, status, used = os.wait4(process.pid, os.WNOHANG)
            wall = time.perf_counter() - start
            if finished:
                break
            if wall > limit:
                os.killpg(process.pid, signal.SIGKILL)
                os.wait4(process.pid, 0)
                return f"stopped after {limit:.0f} s"
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            return f"failed: {last_line(said.read())}"
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Figures(wall, used.ru_utime, used.ru_stime, used.ru_maxrss * unit / 1e6)


if __name__ == "__main__":
    print(json.dumps(_run(float(sys.argv[1]), sys.argv[2:])))
