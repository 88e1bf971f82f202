"""Bad records: reported, counted, and either fatal or skipped, never silent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from tlx.errors import DataError, Place, UsageError

Policy = Literal["fail", "skip"]

HARMLESS = frozenset({"kept", "merged", "requested"})
"""Actions that lose nothing that the user did not ask to lose; such an issue never raises."""


class Issue(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with the data, and what was done about it.

    Attributes:
        code: A short stable name such as ``bad-row``; issues are summed up by it.
        message: One sentence.
        path: File, as the user knows it.
        line: Line, counted from 1.
        action: What happened to the record: ``skipped`` or ``changed``; ``kept`` as it is;
            ``merged`` with another one that says the same; ``requested`` by an option of the user
            (a box cut to the image, say).
        hint: What to do about it.
    """

    code: str
    message: str
    path: str | None = None
    line: int | None = None
    action: str = "skipped"
    hint: str | None = None

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.place}: {self.message}"

    @property
    def place(self) -> Place | None:
        """Where it is, for an error."""
        return None if self.path is None else Place(self.path, self.line)


class IssueLog:
    """Collects issues under a policy.

    Args:
        policy: ``fail`` raises at the first issue that would skip or change data; ``skip`` keeps
            count and goes on.
        keep: How many issues are held for display; all are counted, and all are written when a
            journal is open.
    """

    def __init__(self, policy: Policy = "fail", keep: int = 10_000) -> None:
        if policy not in ("fail", "skip"):
            raise UsageError(f"--on-error must be fail or skip, not {policy!r}.")
        self.policy = policy
        self.keep = keep
        self.kept: list[Issue] = []
        self.counts: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()

    def report(self, issue: Issue) -> None:
        """Count an issue, or raise it.

        An issue whose action is in `HARMLESS` never raises.

        Raises:
            DataError: under the policy ``fail``.
        """
        if self.policy == "fail" and issue.action not in HARMLESS:
            hint = issue.hint or "Mend the file, or go on without such records: --on-error skip"
            raise DataError(issue.message, place=issue.place, hint=hint)
        self.counts[issue.code] += 1
        self.actions[issue.action] += 1
        if len(self.kept) < self.keep:
            self.kept.append(issue)

    @property
    def total(self) -> int:
        """How many issues were reported."""
        return sum(self.counts.values())

    @property
    def lost(self) -> int:
        """How many issues dropped or changed something that the user did not ask to lose."""
        return self.total - sum(self.actions[action] for action in HARMLESS)

    def first(self, code: str, limit: int = 3) -> list[Issue]:
        """The first issues of one code, in the order they were reported."""
        return [issue for issue in self.kept if issue.code == code][:limit]

    def write(self, path: Path) -> None:
        """Write the kept issues as JSON lines."""
        encoder = msgspec.json.Encoder()
        with path.open("wb") as file:
            for issue in self.kept:
                file.write(encoder.encode(issue) + b"\n")
