"""How fast and how much: requests per host, bytes in total, pauses that servers ask for."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from tlx.errors import UsageError
from tlx_plugins.fetching.failure import Stopped

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)


def parse_size(text: str, flag: str) -> int:
    """Bytes of ``500``, ``64MB`` or ``1.5 GB``; a kilobyte is 1024 bytes.

    Raises:
        UsageError: If it is something else.
    """
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size <= 0:
        raise UsageError(f"{flag} is {text!r}, which is no size.", hint=f"Write {flag} 64MB")
    return size


class Pace:
    """Keeps the requests to each host apart, and lets everybody stop at once.

    Args:
        rate: Requests per second and host; 0 for no limit.
        total: Bytes that may be fetched in all; None for no limit.
        clock: Seconds that only rise.
    """

    def __init__(
        self, rate: float, total: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.interval = 1.0 / rate if rate > 0 else 0.0
        self.total = total
        self.clock = clock
        self.spent = 0
        self.stopped = threading.Event()
        self.reason = Stopped("interrupted", "the job was stopped.")
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def enter(self, host: str) -> None:
        """Wait for the turn of a request to a host."""
        with self._lock:
            now = self.clock()
            turn = max(now, self._next.get(host, 0.0))
            self._next[host] = turn + self.interval
        self.sleep(turn - now)

    def hold(self, host: str, seconds: float) -> None:
        """Let nobody ask a host for a while: it said so."""
        with self._lock:
            self._next[host] = max(self._next.get(host, 0.0), self.clock() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the job goes on.

        Raises:
            Stopped: If the job is over.
        """
        if self.stopped.wait(seconds) if seconds > 0 else self.stopped.is_set():
            raise self.reason

    def spend(self, count: int) -> None:
        """Count bytes that have come.

        Raises:
            Stopped: If the job is over, or these bytes end it.
        """
        with self._lock:
            self.spent += count
            if self.total is not None and self.spent > self.total and not self.stopped.is_set():
                self.reason = Stopped("total", f"the limit of {self.total} bytes is reached.")
                self.stopped.set()
        if self.stopped.is_set():
            raise self.reason

    def stop(self) -> None:
        """End the job: whoever waits or reads is called back."""
        self.stopped.set()


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3), as number or date.

    Args:
        value: The header.
        now: Seconds since 1970.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) < 12:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError, TypeError):
        return None
