"""Why an address gave no image."""

from __future__ import annotations


class Failure(Exception):
    """One attempt that failed.

    Args:
        reason: One word that reports are summed up by.
        detail: One sentence.
        again: Another attempt may do better.
        http_status: The status of the answer.
        wait: Seconds that the server asks to wait before another attempt.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        again: bool = False,
        http_status: int | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.again = again
        self.http_status = http_status
        self.wait = wait


class Stopped(Exception):
    """The whole job is over: the user stopped it, or a limit of the job is reached.

    Args:
        reason: One word.
        detail: One sentence.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
